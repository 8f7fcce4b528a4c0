"""Several processes compute what one does: the same gradients, the same weights, the same answers."""

import os
from dataclasses import replace

import numpy as np
import pytest
from learners import Arrays, Lesson, Lore, teach

pytestmark = pytest.mark.skipif(os.name == "nt", reason="fork")
PLAIN = Lesson("lenet5", {"drop_rate": 0.0})  # no batch norm
NORMED = Lesson("mobilenet_v1", {"width": 0.1}, image_size=16)
GRID = (  # one small network of every family
    Lesson("lenet5"),
    Lesson("alexnet_owt"),
    Lesson("vgg11_bn"),
    Lesson("nin_cifar"),
    Lesson("googlenet_bn"),
    Lesson("resnet20_cifar", image_size=16),
    Lesson("densenet40_k12_cifar", image_size=8),
    Lesson("seresnet18"),
    Lesson("shufflenet_v1_g3_x0_25"),
    Lesson("shufflenet_v2_x0_5"),
    Lesson("mobilenet_v1", {"width": 0.1}, image_size=16),
    Lesson("mobilenet_v2", {"width": 0.1}, image_size=16),
    Lesson("mobilenet_v3_small", {"width": 0.1}, image_size=16),
    Lesson("efficientnet_lite0", {"width": 0.2}, image_size=16),
)

QUICK = [lesson for lesson in GRID if lesson.model not in ("alexnet_owt", "googlenet_bn")]  # these take longest


def learn(lesson: Lesson, num_processes: int) -> Lore:
    """Return what process 0 has learnt, after seeing that the others have learnt the same, to the bit."""
    found = teach(lesson, num_processes)
    for lore in found:
        assert isinstance(lore, Lore), lore
        assert lore.scores == found[0].scores
        for name, array in lore.state.items():
            assert np.array_equal(array, found[0].state[name]), name
    return found[0]


def distance(one: Arrays, other: Arrays) -> float:
    """Return the largest difference of any two numbers."""
    assert set(one) == set(other)
    names = [name for name in one if not name.endswith("num_batches_tracked")]
    return max(float(abs(one[name] - other[name]).max()) for name in names)


def relative(one: Arrays, other: Arrays) -> float:
    """Return the largest difference of two gradients, by the norm of the larger."""
    assert set(one) == set(other) and one
    return max(float(np.linalg.norm(one[n] - other[n]) / max(1e-12, np.linalg.norm(other[n]))) for n in one)


@pytest.mark.parametrize("num_processes", [2, 3])
def test_without_batch_norm_several_processes_are_one(num_processes: int):
    lesson = replace(PLAIN, num_steps=50, num_images=46, is_double=True)  # parts of different sizes
    one, several = learn(lesson, 1), learn(lesson, num_processes)
    assert one.steps == several.steps == 50
    assert distance(several.state, one.state) <= 1e-9
    assert distance(one.state, learn(replace(lesson, num_steps=49), 1).state) > 1e-6  # the comparison sees a step


def test_without_batch_norm_the_first_gradients_agree_in_float32():
    lesson = replace(PLAIN, num_images=46)
    assert relative(learn(lesson, 2).gradients, learn(lesson, 1).gradients) <= 1e-5


def test_dropout_is_that_of_the_part_whoever_computes_it():
    lesson = replace(PLAIN, options={"drop_rate": 0.4}, is_double=True)
    two, one = learn(lesson, 2), learn(replace(lesson, accumulate=2), 1)
    assert relative(two.gradients, one.gradients) <= 1e-9
    assert relative(two.gradients, learn(lesson, 1).gradients) > 1e-3


@pytest.mark.parametrize("recalibrate", [True, False])
def test_with_batch_norm_two_processes_are_one_with_two_parts(recalibrate: bool):
    lesson = replace(NORMED, num_steps=50, num_images=46, is_double=True, recalibrate=recalibrate)
    two, one = learn(lesson, 2), learn(replace(lesson, accumulate=2), 1)
    assert distance(two.state, one.state) <= 1e-9
    assert np.allclose(two.scores, one.scores, rtol=1e-6)
    assert relative(two.gradients, one.gradients) <= 1e-9
    assert relative(two.gradients, learn(lesson, 1).gradients) > 1e-3  # batch norm sees the parts


def test_with_batch_norm_the_first_gradients_agree_in_float32():
    lesson = replace(NORMED, num_images=46)
    assert relative(learn(lesson, 2).gradients, learn(replace(lesson, accumulate=2), 1).gradients) <= 1e-5


@pytest.mark.parametrize("lesson", [PLAIN, NORMED], ids=["plain", "normed"])
def test_validation_gives_the_same_logits_for_any_number_of_processes(lesson: Lesson):
    one = learn(lesson, 1).logits
    assert one.shape == (150, 3)
    for num_processes in (2, 3, 4):  # 150 pictures are 3 batches: one of 4 processes has none
        assert all(np.array_equal(lore.logits, one) for lore in teach(lesson, num_processes))


def sizes(num_processes: int, batch_size: int) -> list[int]:
    """Return data set sizes that leave remainders 0, 1, 2 and one less than there are processes."""
    return [2 * batch_size + rest for rest in sorted({0, 1, 2, num_processes - 1})]


def check_grid(lesson: Lesson, batch_size: int) -> int:
    num_refused = 0
    for num_processes in (1, 2, 3):
        for num_images in sizes(num_processes, batch_size):
            found = teach(replace(lesson, num_images=num_images, batch_size=batch_size), num_processes)
            refusals = [lore for lore in found if isinstance(lore, str)]
            if refusals:
                assert len(refusals) == num_processes and "which need 2 in each part; at most" in refusals[0], refusals
                assert num_processes == 3 and batch_size == 8, "refused without need"
                num_refused += 1
            else:
                assert [lore.steps for lore in found] == [3 if num_images % batch_size else 2] * num_processes
    return num_refused


@pytest.mark.parametrize("lesson", [GRID[0], GRID[5], GRID[10]], ids=lambda lesson: lesson.model)
def test_every_size_of_a_data_set_is_trained_on_or_refused(lesson: Lesson):
    assert check_grid(lesson, 12) == 0
    assert check_grid(lesson, 8) == 2  # 17 and 18 pictures: batches of 8, 5, 4 and 8, 5, 5 cannot feed 3 processes


@pytest.mark.parametrize("lesson", QUICK, ids=lambda lesson: lesson.model)
def test_every_family_is_trained_by_two_processes(lesson: Lesson):
    found = teach(replace(lesson, num_images=17), 2)  # parts of 4 + 4, 3 + 2, 2 + 2
    assert [lore if isinstance(lore, str) else lore.steps for lore in found] == [3, 3]
    assert found[0].scores == found[1].scores


@pytest.mark.crash
@pytest.mark.parametrize("lesson", GRID, ids=lambda lesson: lesson.model)
def test_every_family_and_size_is_trained_on_or_refused(lesson: Lesson):
    assert check_grid(lesson, 12) == 0
    assert check_grid(lesson, 8) == 2
