"""Tables that a user brings: read without pickle, in the order of the seen classes, refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from bench.errors import DataError
from bench.methods.modules.class_tables import read_class_table

SEEN = ("apple", "bear", "cup")
TABLE = np.arange(12, dtype=np.float64).reshape(3, 4)


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_format_gives_the_same_table() -> None:
    np.save("t.npy", TABLE)
    np.savez("t.npz", table=TABLE)
    save_file({"table": TABLE}, "t.safetensors")
    for name in ("t.npy", "t.npz", "t.safetensors"):
        found = read_class_table(Path(name), SEEN, 4)
        assert found.dtype == np.float32
        assert np.array_equal(found, TABLE)


def test_rows_with_names_are_looked_up_by_name() -> None:
    np.savez("t.npz", table=np.vstack([TABLE, TABLE[:1] + 100]), classes=np.array(["cup", "apple", "bear", "dog"]))
    assert np.array_equal(read_class_table(Path("t.npz"), SEEN, 4), TABLE[[1, 2, 0]])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": TABLE}, "holds no array called 'table', only other"),
        ({"table": TABLE[:2]}, "is 2x4: give it one row for each of the 3 seen classes, and 4 columns"),
        ({"table": TABLE * np.nan}, "something other than finite numbers"),
        ({"table": TABLE.astype(str)}, "something other than finite numbers"),
        ({"table": TABLE, "classes": np.array(["apple", "beer", "cup"])}, "no row for seen class 'bear'. Did you mean"),
        ({"table": TABLE, "classes": np.array(["apple", "bear"])}, "names 2 classes for 3 rows"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez("t.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_class_table(Path("t.npz"), SEEN, 4)


class Bomb:
    """What an attacker would put into an array file: code that runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (open, ("exploded", "w"))


def test_files_that_are_no_tables() -> None:
    Path("text.npy").write_text("text")
    Path("text.safetensors").write_text("text")
    np.save("evil.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    np.savez("evil.npz", table=np.array([Bomb()], dtype=object))
    for name in ("text.npy", "text.safetensors", "evil.npy", "evil.npz", "missing.npz", "missing.safetensors"):
        with pytest.raises(DataError, match=f"File {name} cannot be read as"):
            read_class_table(Path(name), SEEN, 4)
    assert not Path("exploded").exists()
