import hashlib
import warnings

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from adafer.deep.backbones import build_network
from adafer.deep.weights import download, imagenet_file, load_weights


@pytest.fixture(scope="module")
def published():
    torch.manual_seed(1)
    return models.resnet18(num_classes=1000).state_dict()


def fresh():
    torch.manual_seed(2)
    return build_network("resnet18", 7, image_size=64)


def test_plain_wrapped_prefixed_and_safetensors_files_load_alike(published, tmp_path):
    prefixed = {f"module.{name}": tensor for name, tensor in published.items()}
    files = {
        "plain.pth": published,
        "wrapped.pth": {"state_dict": prefixed, "epoch": 3},
        "prefixed.pt": prefixed,
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
    save_file({n: t.contiguous() for n, t in published.items()}, tmp_path / "x.safetensors")
    for name in [*files, "x.safetensors"]:
        network = fresh()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing is missing: nothing is said
            report = load_weights(network, tmp_path / name, "resnet18")
        assert sorted(report.head) == ["fc.bias", "fc.weight"]
        assert not report.missing
        assert not report.mismatched
        for key, tensor in network.backbone.state_dict().items():
            torch.testing.assert_close(tensor, published[key])


def test_what_did_not_load_is_said(published, tmp_path):
    state = dict(published)
    del state["layer4.1.conv2.weight"]
    state["conv1.weight"] = state["conv1.weight"][:, :1]
    state["surplus"] = torch.zeros(2)
    torch.save(state, tmp_path / "w.pth")
    with pytest.warns(UserWarning, match=r"1 missing .*1 mismatched .*1 unexpected"):
        report = load_weights(fresh(), tmp_path / "w.pth", "resnet18")
    assert report.missing == ["layer4.1.conv2.weight"]
    assert report.mismatched == ["conv1.weight"]
    assert report.unexpected == ["surplus"]


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(models.mobilenet_v3_small(num_classes=5).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="does not hold weights of 'resnet18'"):
        load_weights(fresh(), tmp_path / "w.pth", "resnet18")


def test_a_file_that_is_no_weights_file_is_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_weights(fresh(), tmp_path / "w.pth", "resnet18")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        load_weights(fresh(), tmp_path / "list.pth", "resnet18")


def test_a_pickled_module_is_never_run(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="whole pickled modules are refused"):
        load_weights(fresh(), tmp_path / "w.pth", "resnet18")


def test_missing_files_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_weights(fresh(), tmp_path / "none.pth", "resnet18")
    with pytest.raises(FileNotFoundError, match="adafer download-weights resnet18"):
        load_weights(fresh(), "imagenet", "resnet18")


def test_imagenet_weights_are_read_from_the_hub_folder(published, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = imagenet_file("resnet18")
    assert path.name.startswith("resnet18-")
    path.parent.mkdir(parents=True)
    torch.save(published, path)
    network = fresh()
    load_weights(network, "imagenet", "resnet18")
    torch.testing.assert_close(
        network.backbone.state_dict()["conv1.weight"], published["conv1.weight"]
    )


def test_a_network_without_imagenet_weights_is_refused():
    with pytest.raises(ValueError, match="no ImageNet weights for backbone='convnet'"):
        imagenet_file("convnet")


def test_download_checks_the_hash_and_keeps_nothing_wrong(tmp_path):
    (tmp_path / "there.bin").write_bytes(b"weights")
    url = (tmp_path / "there.bin").as_uri()
    digest = hashlib.sha256(b"weights").hexdigest()
    wanted = tmp_path / "hub" / "here.bin"
    with pytest.raises(ValueError, match="expected it to begin with 0000"):
        download(url, wanted, "0000")
    assert list(wanted.parent.iterdir()) == []
    assert download(url, wanted, digest[:8]).read_bytes() == b"weights"
    (tmp_path / "there.bin").unlink()
    assert download(url, wanted, digest[:8]) == wanted  # kept, not fetched again
    wanted.unlink()
    with pytest.raises(OSError, match=r"cannot be fetched .* put it at .*here\.bin"):
        download(url, wanted, digest)
    assert list(wanted.parent.iterdir()) == []
