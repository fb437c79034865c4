"""`.keras` files of anyone: what is loaded, and what is refused in one sentence before it runs."""

import io
import json
import random
import resource
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from ser_core.errors import ModelError
from ser_core.model.keras_file import CONFIG, MAX_BYTES, METADATA, WEIGHTS
from ser_core.model.layers import AttentivePooling, FrameMask, check_ends, load_keras
from ser_lab.reproduce.networks import build_core, build_input_layers, join
from ser_lab.reproduce.recipes import REPRODUCTIONS
from ser_lab.train.architectures import HeadConfig, LstmConfig, StudentConfig

N_COLUMNS, N_LABELS = 4, 3
WIDTH = 7
"""Units of the dense layer before the logits."""
RAN: list[str] = []
"""Names of foreign classes that were built."""


@keras.saving.register_keras_serializable("elsewhere")
class Foreign(layers.Layer):
    """A class of another package that is registered in this process."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        RAN.append("Foreign")

    def call(self, logits: Any) -> Any:
        return logits


def small_network(tail: Callable[[Any], Any] = lambda logits: logits) -> keras.Model:
    """A network of the kinds of layers that models have, 1,000 weights."""
    features = keras.Input((None, N_COLUMNS), name="features")
    n_frames = keras.Input((), dtype="int32", name="n_frames")
    mask = FrameMask()(features, n_frames)
    lstm = layers.Bidirectional(layers.LSTM(2, return_sequences=True, use_cudnn=False))
    hidden = AttentivePooling(2)(lstm(features, mask=mask), mask)
    hidden = layers.Dense(WIDTH, name="second")(layers.Dense(WIDTH, name="first")(hidden))
    return keras.Model([features, n_frames], tail(layers.Dense(N_LABELS, name="logits")(hidden)))


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The parts of a sound file."""
    path = tmp_path_factory.mktemp("sound") / "network.keras"
    small_network().save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / "network.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    """The sentence that a file is refused with."""
    RAN.clear()
    sentence = r"^network\.keras cannot be opened: .+\. Download"
    with pytest.raises(ModelError, match=sentence) as info:
        load_keras(path)
    message = str(info.value)
    assert (message.isprintable(), len(message) < 500, RAN) == (True, True, [])
    return message


def every_network() -> Iterator[tuple[str, keras.Model]]:
    statistics = {"mean": [0.0] * 8, "variance": [1.0] * 8, "n_labels": 8}
    yield "lstm", LstmConfig(units=(4, 4)).build(**statistics)
    yield "compact", StudentConfig(filters=(4,), units=(4,), attention=4).build(**statistics)
    yield "accurate", HeadConfig(projection=4, units=4, attention=4).build(**statistics)
    for name, (recipe, *_) in REPRODUCTIONS.items():
        columns = recipe.pipeline.features.columns
        front = build_input_layers(recipe.front, columns)
        frames = np.zeros((2, 5, len(columns)), np.float32)
        prepared = np.asarray(front([frames, np.array([5, 4], np.int32)]))
        core = build_core(recipe.plan, prepared, n_labels=8, standardise=recipe.standardise)
        yield name, join(front, core)


def test_every_network_that_can_be_trained_here_is_loaded(tmp_path: Path) -> None:
    for name, trained in every_network():
        trained.save(tmp_path / "network.keras")
        loaded = load_keras(tmp_path / "network.keras")
        for before, after in zip(trained.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(before, after, err_msg=name)


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (lambda logits: layers.Lambda(lambda x: x)(logits), "Lambda"),
        (lambda logits: Foreign()(logits), "Foreign"),
        (lambda logits: keras.ops.tile(logits, (1, 10**9)), "Tile"),
    ],
    ids=["lambda", "class of another package", "endless output"],
)
def test_a_layer_that_is_not_on_the_list_is_not_built(
    tmp_path: Path, tail: Callable[[Any], Any], found: str
) -> None:
    small_network(tail).save(tmp_path / "network.keras")
    assert found in refusal(tmp_path / "network.keras")


def entry_of(config: dict[str, Any], name: str = "first") -> dict[str, Any]:
    return next(entry for entry in config["config"]["layers"] if entry["name"] == name)


def put(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change the entry of a dense layer."""
    return lambda config: entry_of(config).update(changes)


def settings(**changes: Any) -> Callable[[dict[str, Any]], None]:
    """Change the settings of a dense layer."""
    return lambda config: entry_of(config)["config"].update(changes)


def widen(config: dict[str, Any]) -> None:
    """Give two dense layers 30,000 units each, 900 million weights."""
    for name, n_inputs in (("first", 12), ("second", 30_000), ("logits", 30_000)):
        entry_of(config, name)["build_config"] = {"input_shape": [None, n_inputs]}
    for name in ("first", "second"):
        entry_of(config, name)["config"]["units"] = 30_000


def add_stray(config: dict[str, Any]) -> None:
    """Add a layer of 900 million weights that leads to no output."""
    stray = json.loads(json.dumps(entry_of(config, "second")).replace('"second"', '"stray"'))
    stray["config"]["units"], stray["inbound_nodes"] = 30_000, []
    stray["build_config"] = {"input_shape": [None, 30_000]}
    config["config"]["layers"].append(stray)


HOSTILE = {
    "control marks": (put(class_name="\x1b[2J‮"), "keras.layers."),
    "long": (put(class_name="a" * 10_000), "aaa"),
    "os.system": (put(module="os", class_name="system"), "os.system"),
    "another SavedModel": (put(class_name="TFSMLayer"), "TFSMLayer"),
    "reads a file": (put(class_name="StringLookup"), "StringLookup"),
    "loads a model": (put(module="keras.saving", class_name="load_model"), "load_model"),
    "registered": (put(registered_name="elsewhere>Foreign"), "keras.layers.Dense"),
    "no module": (put(module=None), "None.Dense"),
    "code": (put(module=None, class_name="__lambda__", config={"value": "4wA="}), "__lambda__"),
    "function": (settings(activation={"class_name": "function", "config": "tanh"}), "function"),
    "initialiser": (settings(kernel_initializer="elsewhere>Foreign"), "elsewhere>Foreign"),
    "activation": (settings(activation="moodmirror>FrameMask"), "moodmirror>FrameMask"),
    "huge": (settings(units=10**9), "units of 1,000,000,000"),
    "wide": (widen, "weights; at most 25,000,000 are allowed"),
    "stray": (add_stray, "lead to no output"),
    "negative": (settings(units=-1), ""),
    "text": (settings(units="many"), ""),
    "dtype": (settings(dtype="S1000000000"), "dtype S1000000000"),
    "other shape": (settings(units=WIDTH + 1), ""),
    "empty": (lambda config: config.clear(), ""),
    "number": (lambda config: config.update(config=5), ""),
    "no layers": (lambda config: config["config"].update(layers=[]), ""),
    "no output": (lambda config: config["config"].update(output_layers=[["none", 0, 0]]), ""),
    "many": (lambda config: config["config"]["layers"].extend([{}] * 1_000), "layers; at most"),
    "a layer alone": (lambda config: config.update(entry_of(config)), "not a network"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_configuration_that_leads_elsewhere_is_refused(
    members: dict[str, bytes], tmp_path: Path, kind: str
) -> None:
    spoil, found = HOSTILE[kind]
    config = json.loads(members[CONFIG])
    spoil(config)
    most_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = write(tmp_path, members | {CONFIG: json.dumps(config).encode()})
    assert found in refusal(path)
    small_network()  # does not give the refused one its memory
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < most_kb + 500_000


def external_link(file: h5py.File, _: Path) -> None:
    file["layers/stolen"] = h5py.ExternalLink("secret.h5", "secret")


def soft_link(file: h5py.File, _: Path) -> None:
    file["layers/other"] = h5py.SoftLink("/layers")


def other_file(file: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(40))
    file.create_dataset("stolen", (10,), "f4", external=[(str(folder / "secret"), 0, 40)])


def virtual_file(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "secret", (10,))
    file.create_virtual_dataset("stolen", layout)


def cycle(file: h5py.File, _: Path) -> None:
    file["layers/again"] = file["layers"]


def bomb(file: h5py.File, _: Path) -> None:
    file.create_dataset("bomb", (1_000_000_000,), "f4", chunks=(1_000_000,), compression="gzip")


def text(file: h5py.File, _: Path) -> None:
    file.create_dataset("text", data=["a", "b"], dtype=h5py.string_dtype())


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (external_link, "has a link"),
        (soft_link, "has a link"),
        (other_file, "lies in another file"),
        (virtual_file, "lies in another file"),
        (cycle, "more than 3,000 groups and arrays"),
        (bomb, "arrays of more than"),
        (text, "no array of numbers"),
        (lambda file, _: file.clear(), ""),
        (lambda file, _: file["layers"].pop("dense"), ""),
    ],
    ids=["external", "soft", "file", "virtual", "cycle", "bomb", "text", "none", "missing"],
)
def test_weights_that_are_no_plain_arrays_are_refused(
    members: dict[str, bytes],
    tmp_path: Path,
    spoil: Callable[[h5py.File, Path], None],
    found: str,
) -> None:
    content = io.BytesIO(members[WEIGHTS])
    with h5py.File(content, "r+") as file:
        spoil(file, tmp_path)
    assert found in refusal(write(tmp_path, members | {WEIGHTS: content.getvalue()}))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({WEIGHTS: bytes(MAX_BYTES[WEIGHTS] + 1)}, "100,000,001 bytes; at most 100,000,000"),
        ({CONFIG: bytes(MAX_BYTES[CONFIG] + 1)}, "at most 10,000,000"),
        ({"assets/vocabulary.txt": b"/etc/passwd"}, "exactly"),
        ({"../escaped": b""}, "exactly"),
        ({CONFIG: b"[" * 100_000}, "recursion"),
        ({CONFIG: b"\xff"}, ""),
        ({CONFIG: b"5"}, "no object"),
        ({WEIGHTS: b"no HDF5"}, ""),
    ],
    ids=["bomb", "config", "asset", "outside", "deep", "bytes", "number", "weights"],
)
def test_other_members_are_refused(
    members: dict[str, bytes], tmp_path: Path, changes: dict[str, bytes], found: str
) -> None:
    assert found in refusal(write(tmp_path, members | changes))


def test_what_is_no_zip_is_refused(members: dict[str, bytes], tmp_path: Path) -> None:
    whole = write(tmp_path, members).read_bytes()
    for content in (b"", b"no zip", whole[:-30], whole[: len(whole) // 2]):
        (tmp_path / "network.keras").write_bytes(content)
        assert "zip" in refusal(tmp_path / "network.keras")
    del members[METADATA]
    assert "exactly" in refusal(write(tmp_path, members))


def test_a_network_with_other_ends_is_refused() -> None:
    network = small_network()
    shape = (None, None, N_COLUMNS)
    check_ends(network, {"features": shape, "n_frames": (None,)}, N_LABELS)
    for inputs, n_labels in (
        ({"features": shape, "n_frames": (None,)}, N_LABELS + 1),
        ({"features": (None, None, 5), "n_frames": (None,)}, N_LABELS),
        ({"vectors": shape, "n_vectors": (None,)}, N_LABELS),
    ):
        with pytest.raises(ModelError, match="but the manifest expects"):
            check_ends(network, inputs, n_labels)


@pytest.mark.parametrize("part", [CONFIG, WEIGHTS])
def test_mutated_files_are_loaded_or_refused(
    members: dict[str, bytes], tmp_path: Path, part: str
) -> None:
    chance = random.Random(0)
    n_refused = 0
    for _ in range(40):
        content = bytearray(members[part])
        for _ in range(chance.choice([1, 4, 64])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        try:
            load_keras(write(tmp_path, members | {part: bytes(content)}))
        except ModelError:
            n_refused += 1
    assert n_refused > 10
