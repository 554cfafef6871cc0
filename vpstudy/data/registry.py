"""Embedded targets and known data sets, plain data for fast imports; add your own in `pictures` of params.yaml."""

from dataclasses import dataclass
from typing import Any

# An embedded target is a module with `load(size) -> Target` and one line here.
EMBEDDED = {
    "digits": "vpstudy.data.targets.digits",
    "photographs": "vpstudy.data.targets.photographs",
    "faces": "vpstudy.data.targets.faces",
    "letters": "vpstudy.data.targets.letters",
}

# Arguments of torchvision classes: for the pool (training and validation) and for the test set, if there is one.
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


@dataclass(frozen=True)
class Known:
    """A data set from the papers, downloaded by torchvision or prepared by hand following `steps`."""

    title: str
    credit: str  # authors and terms of use
    origin: dict[str, Any]  # an entry of `pictures` in params.yaml
    steps: str = ""
    class_names: tuple[str, ...] = ()  # for class folders named 0, 1, …


SIGNS = tuple(
    """speed limit 20 km/h, speed limit 30 km/h, speed limit 50 km/h, speed limit 60 km/h, speed limit 70 km/h,
    speed limit 80 km/h, end of speed limit 80 km/h, speed limit 100 km/h, speed limit 120 km/h, no passing,
    no passing for heavy vehicles, right of way at the next crossing, priority road, yield, stop, no vehicles,
    no heavy vehicles, no entry, general danger, dangerous curve to the left, dangerous curve to the right,
    double curve, bumpy road, slippery road, road narrows on the right, road works, traffic signals, pedestrians,
    children crossing, bicycles crossing, ice or snow, wild animals crossing, end of all limits, turn right ahead,
    turn left ahead, ahead only, straight ahead or right, straight ahead or left, keep right, keep left, roundabout,
    end of no passing, end of no passing for heavy vehicles""".replace("\n   ", "").split(", ")
)
WORDNET = "class folders carry WordNet ids, n01440764"

KNOWN = {
    "cifar10": Known("CIFAR-10", "A. Krizhevsky (2009)", {"torchvision": "CIFAR10"}),
    "cifar100": Known("CIFAR-100", "A. Krizhevsky (2009)", {"torchvision": "CIFAR100"}),
    "svhn": Known("Street View House Numbers", "Y. Netzer et al. (2011), not for commerce", {"torchvision": "SVHN"}),
    "gtsrb": Known("German traffic signs", "J. Stallkamp et al. (2012)", {"torchvision": "GTSRB"}, class_names=SIGNS),
    "dtd": Known("Describable Textures", "M. Cimpoi et al. (2014), for research", {"torchvision": "DTD"}),
    "flowers": Known("Oxford Flowers 102", "M.-E. Nilsback and A. Zisserman (2008)", {"torchvision": "Flowers102"}),
    "eurosat": Known("EuroSAT, RGB", "P. Helber et al. (2019), MIT", {"torchvision": "EuroSAT"}),
    "pets": Known("Oxford-IIIT Pets", "O. M. Parkhi et al. (2012), CC BY-SA 4.0", {"torchvision": "OxfordIIITPet"}),
    "caltech": Known("Caltech 101", "F.-F. Li et al. (2004), CC BY 4.0", {"torchvision": "Caltech101"}),
    "food": Known(
        "Food-101", "L. Bossard et al. (2014), pictures by their takers, for research", {"torchvision": "Food101"}
    ),
    "sun": Known("SUN397", "J. Xiao et al. (2010), for research", {"torchvision": "SUN397"}),
    "aircraft": Known("FGVC-Aircraft", "S. Maji et al. (2013), for research", {"torchvision": "FGVCAircraft"}),
    "imagenet": Known(
        "ImageNet-1k",
        "O. Russakovsky et al. (2015), for research, on registration at image-net.org",
        {"imagefolder": "$IMAGENET", "test_pictures": 10000, "train_per_class": 100},
        "register at image-net.org, unpack ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar with"
        f" torchvision.datasets.ImageNet, which makes train/ and val/ ({WORDNET}), and set IMAGENET to their folder",
    ),
    "cars": Known(
        "Stanford Cars",
        "J. Krause et al. (2013), for research",
        {"imagefolder": "data/raw/cars"},
        "the address that torchvision knows is dead; get a copy of the 196 classes and sort it into train/CLASS and"
        " test/CLASS by cars_train_annos.mat and cars_test_annos_withlabels.mat",
    ),
    "tiny_imagenet": Known(
        "Tiny ImageNet",
        "Stanford CS231n, from ImageNet, for research",
        {"imagefolder": "data/raw/tiny_imagenet"},
        f"unpack tiny-imagenet-200.zip of CS231n; keep train/ ({WORDNET}), move the pictures of val/ into val/CLASS by"
        " val_annotations.txt, and remove test/, which has no labels",
    ),
}
