"""Names of classes: where they come from, and the words that they are in a text."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vpstudy import paths
from vpstudy.data.origin import Origin
from vpstudy.data.registry import KNOWN

NUMBERING = re.compile(r"(n\d{8}|\d+)[-_. ]+(?=[^\W\d_])")  # 001.Albatross, n02085620-Chihuahua
SEAMS = re.compile(
    r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})|(?<=[a-z]{2})(?=\d)"
)  # AnnualCrop, HTMLPage, lane2


def of_folders(alias: str, origin: Origin, folders: list[str]) -> list[str]:
    """Class names from `origin`, the registry, WordNet or the folders, in this order of preference.

    Raises ValueError if the names in `origin` are not unique or not one per class.
    """
    given = origin.class_names
    if isinstance(given, str):
        given = (paths.ROOT / given).read_text(encoding="utf-8").splitlines()
    if given:
        if len(given) != len(folders) or len(set(given)) != len(given):
            raise ValueError(
                f"pictures.{alias}.class_names: {len(set(given))} different names for {len(folders)} classes"
                f" ({', '.join(folders[:3])}, …); give one for each, in the order of the folders"
            )
        return list(given)
    known = list(KNOWN[alias].class_names) if alias in KNOWN else []
    numbered = all(map(str.isdecimal, folders)) and list(map(int, folders)) == list(range(len(known)))
    return known if numbered else _wordnet(folders) or folders


def _wordnet(folders: list[str]) -> list[str] | None:
    """Names of ImageNet classes if the folders are WordNet ids, or the numbers 0 to 999."""
    if len(folders) != 1000 and not all(re.fullmatch(r"n\d{8}", folder) for folder in folders):
        return None
    from timm.data import ImageNetInfo
    from torchvision.models import ResNet50_Weights

    wordnet = ImageNetInfo("imagenet-1k")  # whose words are those of 22,000 ids
    ids = wordnet.label_names()
    names = dict(zip(ids, ResNet50_Weights.DEFAULT.meta["categories"], strict=True))  # both sorted by id
    if folders == [str(k) for k in range(len(ids))]:
        folders = ids
    try:
        synonyms = {folder: wordnet.label_name_to_description(folder) for folder in folders if folder not in names}
    except KeyError:  # no id
        return None
    first = Counter(text.split(", ")[0] for text in synonyms.values())
    called = {folder: text.split(", ")[0] for folder, text in synonyms.items() if first[text.split(", ")[0]] == 1}
    return [(synonyms | called | names)[folder] for folder in folders]


@dataclass(frozen=True)
class Sense:
    """What a class is called, and what WordNet says of it: its names, and a gloss, which explains it."""

    name: str
    synonyms: tuple[str, ...] = ()
    gloss: str = ""


def senses(names: Sequence[str]) -> list[Sense]:
    """Senses of the classes of a network: ImageNet's thousand, in their order, have those of WordNet."""
    from timm.data import ImageNetInfo
    from torchvision.models import ResNet50_Weights

    called = words(names)
    if list(names) != ResNet50_Weights.DEFAULT.meta["categories"]:
        return [Sense(name) for name in called]
    wordnet = ImageNetInfo("imagenet-1k")
    said = [wordnet.index_to_description(k, detailed=True).split(": ", 1) for k in range(len(called))]
    return [Sense(name, tuple(others.split(", ")), gloss) for name, (others, gloss) in zip(called, said, strict=True)]


def words(names: Sequence[str]) -> list[str]:
    """Names as a person writes them in a text: "AnnualCrop" is "annual crop".

    A name with a space in it is taken as it is. In others, words end at underscores and where case or digits begin,
    words behind a slash come first (as CoOp writes SUN397: "building/outdoor" is "outdoor building"), and numbers
    before names are dropped if every class has one and none is all that tells two apart.
    """
    bare = [NUMBERING.sub("", name, count=1) for name in names]
    if all(map(NUMBERING.match, names)) and len({*bare}) == len(names):
        names = bare
    return [name if " " in name else _parted(name) for name in names]


def _parted(name: str) -> str:
    kinds = name.split("/")
    turned = all(map(re.compile(r"[a-z_-]{3,}").fullmatch, kinds))
    spaced = (" ".join(reversed(kinds)) if turned else name).replace("_", " ")
    parted = SEAMS.sub(" ", spaced)
    return " ".join((parted if parted == spaced else parted.lower()).split()) or name
