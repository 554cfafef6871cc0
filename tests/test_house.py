"""How the packages lie above one another; that `pipeline` is above `studies` and `vpstudy`, import-linter holds."""

import grimp
import networkx


def test_no_files_import_each_other_in_a_circle():
    graph = grimp.build_graph("pipeline", "studies", "vpstudy")
    imports = [(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)]
    circles = networkx.strongly_connected_components(networkx.DiGraph(imports))
    assert [sorted(circle) for circle in circles if len(circle) > 1] == []
