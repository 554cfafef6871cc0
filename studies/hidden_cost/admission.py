"""Which compressed networks enter claims: those that have not collapsed, by a rule that stands in the parameters."""

import pandas as pd

from studies.claims.claim import NETWORK
from studies.hidden_cost.settings import Admission


def admitted(backbones: pd.DataFrame, floors: Admission) -> pd.Series:
    """Whether each network of `backbones` is admitted (`NETWORK`, compression, upstream_accuracy; bool, same index).

    Without its dense network, a compressed one is not.
    """
    is_dense = backbones["compression"] == "dense"
    of_dense = backbones[is_dense].set_index(NETWORK)["upstream_accuracy"]
    dense = backbones.join(of_dense.rename("dense"), on=NETWORK)["dense"]
    accuracy = backbones["upstream_accuracy"]
    return (dense >= floors.floor) & (accuracy >= floors.floor) & (accuracy >= floors.share_of_dense * dense)
