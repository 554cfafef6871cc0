"""The real data sets of the papers, by alias: where their pictures come from. Plain data, so that it loads at once.

A set comes through torchvision, which downloads and checks it, or, where torchvision lacks it or its address is dead,
as an image folder that a person makes by the steps told here. An alias in `pictures` of params.yaml is read in place
of the set of that name here.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from vpstudy import paths

# Arguments of each torchvision class for what training and validation draw from, and for the test set; those without a
# test set of their own are split here. Another class of torchvision is a line here.
TORCHVISION: dict[str, tuple[list[dict], list[dict]]] = {
    "CIFAR10": ([{"train": True}], [{"train": False}]),
    "CIFAR100": ([{"train": True}], [{"train": False}]),
    "SVHN": ([{"split": "train"}], [{"split": "test"}]),
    "GTSRB": ([{"split": "train"}], [{"split": "test"}]),
    "DTD": ([{"split": "train"}, {"split": "val"}], [{"split": "test"}]),
    "Flowers102": ([{"split": "train"}, {"split": "val"}], [{"split": "test"}]),
    "EuroSAT": ([{}], []),
    "OxfordIIITPet": ([{"split": "trainval"}], [{"split": "test"}]),
    "Caltech101": ([{}], []),
    "Food101": ([{"split": "train"}], [{"split": "test"}]),
    "SUN397": ([{}], []),
    "FGVCAircraft": ([{"split": "trainval"}], [{"split": "test"}]),
}

LAYOUT = "train/CLASS/*.jpg and test/CLASS/*.jpg, or CLASS/*.jpg alone, which is split by a seed"
WORDNET = "a class is a folder that is called by its WordNet id (n01440764)"


@dataclass(frozen=True)
class Source:
    """One data set. Without `torchvision`, it is the image folder `imagefolder`, made by `steps`."""

    title: str
    origin: str  # who made it, and under which terms
    torchvision: str | None = None
    imagefolder: str | None = None
    steps: str = ""
    class_names: tuple[str, ...] = ()  # for folders that are the numbers from 0 on
    test_pictures: int | None = None
    train_per_class: int | None = None


SIGNS = (
    *(f"speed limit {limit} km/h" for limit in (20, 30, 50, 60, 70, 80)),
    "end of speed limit 80 km/h",
    *(f"speed limit {limit} km/h" for limit in (100, 120)),
    "no passing",
    "no passing for heavy vehicles",
    "right of way at the next crossing",
    "priority road",
    "yield",
    "stop",
    "no vehicles",
    "no heavy vehicles",
    "no entry",
    "general danger",
    "dangerous curve to the left",
    "dangerous curve to the right",
    "double curve",
    "bumpy road",
    "slippery road",
    "road narrows on the right",
    "road works",
    "traffic signals",
    "pedestrians",
    "children crossing",
    "bicycles crossing",
    "ice or snow",
    "wild animals crossing",
    "end of all limits",
    "turn right ahead",
    "turn left ahead",
    "ahead only",
    "straight ahead or right",
    "straight ahead or left",
    "keep right",
    "keep left",
    "roundabout",
    "end of no passing",
    "end of no passing for heavy vehicles",
)

SOURCES = {
    "cifar10": Source("CIFAR-10", "A. Krizhevsky (2009)", "CIFAR10"),
    "cifar100": Source("CIFAR-100", "A. Krizhevsky (2009)", "CIFAR100"),
    "svhn": Source("Street View House Numbers", "Y. Netzer et al. (2011), not for commerce", "SVHN"),
    "gtsrb": Source("German traffic signs", "J. Stallkamp et al. (2012)", "GTSRB", class_names=SIGNS),
    "dtd": Source("Describable Textures", "M. Cimpoi et al. (2014), for research", "DTD"),
    "flowers": Source("Oxford Flowers 102", "M.-E. Nilsback and A. Zisserman (2008)", "Flowers102"),
    "eurosat": Source("EuroSAT, RGB", "P. Helber et al. (2019), MIT", "EuroSAT"),
    "pets": Source("Oxford-IIIT Pets", "O. M. Parkhi et al. (2012), CC BY-SA 4.0", "OxfordIIITPet"),
    "caltech": Source("Caltech 101", "F.-F. Li et al. (2004), CC BY 4.0", "Caltech101"),
    "food": Source("Food-101", "L. Bossard et al. (2014), pictures by their takers, for research", "Food101"),
    "sun": Source("SUN397", "J. Xiao et al. (2010), for research", "SUN397"),
    "aircraft": Source("FGVC-Aircraft", "S. Maji et al. (2013), for research", "FGVCAircraft"),
    "imagenet": Source(
        "ImageNet-1k",
        "O. Russakovsky et al. (2015), for research, on registration at image-net.org",
        imagefolder="$IMAGENET",
        steps="register at image-net.org, unpack ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar with"
        f" torchvision.datasets.ImageNet, which makes train/ and val/ ({WORDNET}), and let IMAGENET name their folder",
        test_pictures=10000,
        train_per_class=100,
    ),
    "cars": Source(
        "Stanford Cars",
        "J. Krause et al. (2013), for research",
        imagefolder="data/raw/cars",
        steps="the address that torchvision knows is dead; get a copy of the 196 classes elsewhere and sort it into"
        " train/CLASS and test/CLASS by cars_train_annos.mat and cars_test_annos_withlabels.mat",
    ),
    "tiny_imagenet": Source(
        "Tiny ImageNet",
        "Stanford CS231n, from ImageNet, for research",
        imagefolder="data/raw/tiny_imagenet",
        steps=f"unpack tiny-imagenet-200.zip of CS231n; keep train/ ({WORDNET}), and move the pictures of val/ into"
        " val/CLASS by val_annotations.txt; remove test/, which has no labels",
    ),
    "ucf": Source(
        "UCF101, middle frames",
        "K. Soomro et al. (2012)",
        imagefolder="data/raw/ucf",
        steps="get UCF-101-midframes, one picture a video as CoOp uses it, and sort it into train/CLASS and test/CLASS"
        " by trainlist01.txt and testlist01.txt",
    ),
    "imagenet_v2": Source(
        "ImageNet-V2, matched frequency",
        "B. Recht et al. (2019), MIT",
        imagefolder="data/raw/imagenet_v2",
        steps="unpack imagenetv2-matched-frequency.tar.gz; a class is a folder that is called by its number, 0 to 999",
    ),
    "imagenet_sketch": Source(
        "ImageNet-Sketch",
        "H. Wang et al. (2019)",
        imagefolder="data/raw/imagenet_sketch",
        steps=f"unpack ImageNet-Sketch.zip, the content of its folder sketch/; {WORDNET}",
    ),
    "imagenet_a": Source(
        "ImageNet-A",
        "D. Hendrycks et al. (2021), MIT",
        imagefolder="data/raw/imagenet_a",
        steps=f"unpack imagenet-a.tar; {WORDNET}",
    ),
    "imagenet_r": Source(
        "ImageNet-R",
        "D. Hendrycks et al. (2021), MIT",
        imagefolder="data/raw/imagenet_r",
        steps=f"unpack imagenet-r.tar; {WORDNET}",
    ),
}

_declared: ContextVar[tuple[str, ...] | None] = ContextVar("declared", default=None)


@contextmanager
def declaring(aliases: Iterable[str]) -> Iterator[None]:
    """While this is open, `declared` gives these: the aliases of parameters that do not stand in params.yaml."""
    token = _declared.set(tuple(aliases))
    try:
        yield
    finally:
        _declared.reset(token)


def declared() -> tuple[str, ...]:
    """The aliases in `pictures` of params.yaml; none where that cannot be read, which `check` tells."""
    if (known := _declared.get()) is not None:
        return known
    from vpstudy import yaml12

    try:
        section = (yaml12.load(paths.PARAMS.read_text(encoding="utf-8")) or {}).get("pictures")
    except (OSError, ValueError, AttributeError):
        return ()
    return tuple(section) if isinstance(section, dict) else ()


class AnyDeclared(str):
    """Equal to every alias that is declared when it is compared.

    It stands in a tuple of names that parameters are checked against: that is read when they are imported, and the
    aliases of a reader, who edits params.yaml or puts another scale in place, are known later.
    """

    def __eq__(self, other: object) -> bool:
        return other in declared()

    __hash__ = str.__hash__
