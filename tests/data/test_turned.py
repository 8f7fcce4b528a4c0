import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from depthwise.data.examine import examine
from depthwise.data.ledger import Ledger
from depthwise.data.turned import BACK, FORMS, turn

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from plant import scene

NUMBERS = np.arange(12, dtype=np.uint8).reshape(3, 4)
WANTED = (
    NUMBERS,
    NUMBERS[:, ::-1],
    NUMBERS[::-1],
    np.rot90(NUMBERS, 2),
    NUMBERS.T,
    np.rot90(NUMBERS, -1),
    np.rot90(NUMBERS),
    np.rot90(NUMBERS, 2).T,
)


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_a_form_does_what_its_name_says_and_another_undoes_it(form):
    found = turn(Image.fromarray(NUMBERS), form)
    assert np.array_equal(np.asarray(found), WANTED[form])
    assert np.array_equal(np.asarray(turn(found, BACK[form])), NUMBERS)
    assert len({w.tobytes() for w in WANTED}) == len(FORMS)


@pytest.mark.parametrize("form", range(1, len(FORMS)))
def test_the_hashes_of_all_forms_are_those_of_turned_pictures(form, tmp_path):
    picture = scene(np.random.default_rng(form), (300, 200))
    looks = []
    with Ledger(tmp_path / "cache") as ledger:
        for name, shown in (("a", picture), ("b", turn(picture, form))):
            shown.save(tmp_path / f"{name}.png")
            looks.append(examine(tmp_path / f"{name}.png", ledger))
    of_form = looks[0].turned_looks >> 64 * (len(FORMS) - 1 - form) & (2**64 - 1)
    assert (of_form ^ looks[1].look).bit_count() <= 2  # those at the median
    assert (looks[0].look ^ looks[1].look).bit_count() > 10
