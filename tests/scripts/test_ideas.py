"""The numbers of docs/ideas against values worked out by hand, its pages, figures and examples."""

import math
import re
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import make_ideas
from ideas import (
    channel_shuffle,
    relu_manifold,
    separable_cost,
    separable_steps,
    small_kernels,
    squeeze_excite,
)

from depthwise.models.registry import model_info

FOLDER = ROOT / "docs/ideas"
NAMES = [idea.name for idea in make_ideas.IDEAS]
by_idea = pytest.mark.parametrize("idea", make_ideas.IDEAS, ids=NAMES)


@pytest.fixture(scope="module")
def numbers():
    return {idea.name: idea.module.numbers() for idea in make_ideas.IDEAS}


def test_the_separable_ratio_by_hand_and_as_counted():
    assert separable_cost.ratio(3, 256) == Fraction(1, 256) + Fraction(1, 9) == Fraction(265, 2304)
    assert float(separable_cost.ratio(3, 256)) == pytest.approx(0.115, abs=5e-4)
    assert separable_cost.ratio(5, 64) == Fraction(89, 1600)
    standard = separable_cost.standard_cost(32, 256, 3, 14)
    depthwise, pointwise = separable_cost.separable_cost(32, 256, 14)
    assert standard == (9 * 32 * 256, 9 * 32 * 256 * 14 * 14)
    assert depthwise == (9 * 32, 9 * 32 * 14 * 14)
    assert pointwise == (32 * 256, 32 * 256 * 14 * 14)
    assert Fraction(depthwise.macs + pointwise.macs, standard.macs) == separable_cost.ratio(3, 256)


def test_mobilenet_with_standard_convolutions_is_that_of_table_4(numbers):
    found = numbers["separable_cost"]
    assert (found.channels, found.map_size) == (512, 14)
    assert round(found.full_network.weights / 1e6, 1) == 29.3
    assert (found.full_network.macs - 1024 * 1000) // 10**6 == 4866  # the table leaves out the classifier here
    spec = model_info("mobilenet_v1")
    assert found.network == (spec.params, spec.macs)


def test_depthwise_and_pointwise_by_hand(numbers):
    found = numbers["separable_steps"]
    assert found.filtered.tolist() == [[[6, 6], [5, 4]], [[1, 0], [-1, 0]]]
    assert found.mixed.tolist() == [[[7, 6], [4, 4]], [[5, 6], [6, 4]], [[2, 0], [-2, 0]]]
    assert (found.separable_products, found.standard_products) == (2 * 4 * 9 + 3 * 4 * 2, 3 * 4 * 2 * 9)
    assert torch.equal(separable_steps.standard(found.maps, found.kernels, found.mix), found.mixed)
    text = separable_steps.text(found)
    assert "0·1 + 1·2 + 0·0 + 1·0 + 1·1 + 1·3 + 0·2 + 1·0 + 0·1 = 6." in text
    assert "1·6 + 1·1 = 7; 1·6 + −1·1 = 5; 0·6 + 2·1 = 2." in text  # noqa: RUF001


def test_two_rows_that_relu_leaves_alone_find_a_point_again():
    matrix = np.array([[1.0, 0.0], [0.0, 1.0]])
    points = np.array([[0.5, 0.2], [0.5, -0.2], [-0.5, 0.2], [-0.5, -0.2]])
    embedded = relu_manifold.embed(points, matrix)
    assert embedded.tolist() == [[0.5, 0.2], [0.5, 0], [0, 0.2], [0, 0]]
    share, found = relu_manifold.share_recovered(points, matrix)
    assert (share, found.tolist()) == (0.25, [True, False, False, False])
    opposite = np.concatenate([matrix, -matrix])  # now two rows see each point
    assert relu_manifold.share_recovered(points, opposite)[0] == 1
    np.testing.assert_allclose(relu_manifold.project_back(embedded[:1], matrix), points[:1])


def test_more_dimensions_lose_fewer_points(numbers):
    found = numbers["relu_manifold"]
    assert [found.expected[n] for n in (2, 3, 5)] == [0.25, 0.5, 0.8125]
    for shares in ({n: mask.mean() for n, mask in found.is_recovered.items()}, found.mean_shares):
        in_order = [shares[n] for n in (2, 3, 5, 15, 30)]
        assert in_order == sorted(in_order)
        assert in_order[0] < 0.3
        assert in_order[1] < in_order[2] < in_order[3]
        assert in_order[-1] == 1
    for n, share in found.mean_shares.items():
        assert share == pytest.approx(found.expected[n], abs=0.03)


def test_counting_rows_is_solving_for_the_point():
    rng = np.random.default_rng(7)
    points = relu_manifold.spiral(100)
    for n in (2, 3, 5):
        matrix = rng.standard_normal((n, 2))
        is_counted = (points @ matrix.T > 0).sum(1) >= 2
        assert relu_manifold.share_recovered(points, matrix)[1].tolist() == is_counted.tolist()


def test_small_kernels_see_as_far_with_fewer_weights(numbers):
    found = numbers["small_kernels"]
    assert found.reach == {(5,): 5, (3, 3): 5, (7,): 7, (3, 3, 3): 7}
    c = small_kernels.CHANNELS
    assert found.weights == {(5,): 25 * c * c, (3, 3): 18 * c * c, (7,): 49 * c * c, (3, 3, 3): 27 * c * c}
    ways = (1, 2, 3, 2, 1)
    assert found.paths == tuple(tuple(a * b for b in ways) for a in ways)


def test_inception_3a_by_hand(numbers):
    found = numbers["inception"]
    area = 28 * 28
    assert (found.in_channels, found.map_size) == (192, 28)
    assert found.naive == {"1x1": area * 192 * 64, "3x3": area * 192 * 128 * 9, "5x5": area * 192 * 32 * 25}
    assert found.reduced == {
        "1x1": area * 192 * 64,
        "3x3 reduce": area * 192 * 96,
        "3x3": area * 96 * 128 * 9,
        "5x5 reduce": area * 192 * 16,
        "5x5": area * 16 * 32 * 25,
        "pool projection": area * 192 * 32,
    }
    assert (found.naive_channels, found.reduced_channels) == (416, 256)


def test_shortcuts_by_hand(numbers):
    found = numbers["shortcuts"]
    plain, weights = found.networks["none"], {o: cost.weights for o, cost in found.networks.items()}
    assert found.networks["A"] == plain
    spec = model_info("resnet34")
    assert found.networks["B"] == (spec.params, spec.macs)
    steps = ((64, 128, 28), (128, 256, 14), (256, 512, 7))  # in, out, side; batch norm has two weights a channel
    expected = [(c, d, side, (c * d + 2 * d, c * d * side * side)) for c, d, side in steps]
    assert list(found.transitions) == expected
    assert weights["B"] - weights["A"] == sum(c * d + 2 * d for c, d, _ in steps)
    others = ((3, 64, 56), (3, 128, 28), (5, 256, 14), (2, 512, 7))  # how many identities, channels, side
    assert found.num_identities == sum(count for count, _, _ in others)
    assert weights["C"] - weights["B"] == sum(count * (c * c + 2 * c) for count, c, _ in others)
    added = found.networks["C"].macs - found.networks["B"].macs
    assert added == sum(count * c * c * side * side for count, c, side in others)


def test_squeeze_and_excite_by_hand(numbers):
    found = numbers["squeeze_excite"]
    assert found.squeezed.tolist() == [4, 1, 2, 3]
    assert found.hidden.tolist() == [0.5 * 4 - 1, 1 - 2 + 3]
    assert "0.5·4 + −1·1 + 0·2 + 0·3 = 1;" in squeeze_excite.text(found)  # noqa: RUF001
    assert found.scores.tolist() == [2 * 1, -2 * 1, -1 * 2, -1 + 2]
    weights = [1 / (1 + math.exp(-score)) for score in (2, -2, -2, 1)]
    assert found.weights.tolist() == pytest.approx(weights)
    assert found.scaled[0].flatten().tolist() == pytest.approx([value * weights[0] for value in (5, 3, 4, 4)])
    assert found.scaled[3].flatten().tolist() == pytest.approx([value * weights[3] for value in (3, 2, 3, 4)])
    widths = ((3, 256), (4, 512), (6, 1024), (3, 2048))
    added = sum(count * (2 * c * c // 16 + c // 16 + c) for count, c in widths)  # two layers and their biases
    assert found.senet.weights - found.resnet.weights == added


def test_the_shuffle_by_hand():
    assert channel_shuffle.shuffle_order(2, 6) == [0, 3, 1, 4, 2, 5]
    assert channel_shuffle.shuffle_order(3, 9) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_without_the_shuffle_groups_see_only_themselves(numbers):
    found = numbers["channel_shuffle"]
    assert found.without.int().tolist() == np.kron(np.eye(3, dtype=int), np.ones((3, 3), dtype=int)).tolist()
    assert found.shuffled.all()
    assert (found.unit_without, found.unit_shuffled) == (pytest.approx(1 / 3), 1)
    assert channel_shuffle.dependencies(nn.Conv2d(2, 2, 1, groups=2), 2).tolist() == [[True, False], [False, True]]


@by_idea
def test_figures_are_current_small_and_come_out_the_same(idea, numbers):
    first, second = (make_ideas.draw(idea, numbers[idea.name]) for _ in range(2))
    assert first == second
    assert make_ideas.digest(idea, numbers[idea.name]).encode() in first
    assert b"<dc:date>" not in first
    committed = FOLDER / f"{idea.name}.svg"
    assert make_ideas.is_drawn(committed, make_ideas.digest(idea, numbers[idea.name]))
    assert committed.stat().st_size < 150_000


@by_idea
def test_texts_stay_inside_figures_and_off_each_other(idea, numbers):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    with make_ideas.drawing.in_style():
        figure = Figure()
        idea.module.draw(figure, numbers[idea.name])
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text()]
        places = [(t.get_text(), Text.get_window_extent(t)) for t in texts]  # without an annotation's arrow
    width, height = figure.bbox.width, figure.bbox.height
    for text, place in places:
        inside = place.x0 >= 0 and place.y0 >= 0 and place.x1 <= width and place.y1 <= height
        assert inside, f"{text!r} leaves the figure"
    for index, (text, place) in enumerate(places):
        for other, its in places[index + 1 :]:
            overlap_x = min(place.x1, its.x1) - max(place.x0, its.x0)
            overlap_y = min(place.y1, its.y1) - max(place.y0, its.y0)
            assert overlap_x <= 1 or overlap_y <= 1, f"{text!r} overlaps {other!r}"


@by_idea
def test_pages_are_current_and_their_examples_print_what_they_say(idea, numbers):
    page = (FOLDER / f"{idea.name}.md").read_text(encoding="utf-8")
    parts = {"numbers": idea.module.text(numbers[idea.name]), "prints": make_ideas.run_example(page)}
    assert make_ideas.fill(page, parts) == page
    assert all(page.count(f"<!-- generated: {part} -->") == 1 for part in parts)
    assert page.startswith(f"# {idea.title}\n")
    assert 5 <= make_ideas.EXAMPLE.search(page)[1].strip().count("\n") + 1 <= 10
    prose = re.sub(r"(?s)<!-- generated.*?<!-- end -->|```.*?```|!?\[[^\]]*\]\([^)]*\)", "", page)
    assert 100 <= len(prose.split()) <= 300


def test_every_link_and_figure_is_there():
    pages = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    assert set(pages) == {"README.md", *(f"{name}.md" for name in NAMES)}
    for page, text in pages.items():
        for target in re.findall(r'\]\(([^)]+)\)|src="([^"]+)"', text):
            address = target[0] or target[1]
            assert address.startswith("https://arxiv.org/abs/") or (FOLDER / address).is_file(), f"{page}: {address}"
    for name in NAMES:
        assert f"({name}.svg)" in pages[f"{name}.md"]
        assert f'src="{name}.svg"' in pages["README.md"]
        assert "https://arxiv.org/abs/" in pages[f"{name}.md"]
    assert "(docs/ideas/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_check_names_what_is_out_of_date_and_writing_mends_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(make_ideas, "IDEAS", make_ideas.IDEAS[3:4])
    name, page = "small_kernels", tmp_path / "small_kernels.md"
    for file in ("README.md", f"{name}.md", f"{name}.svg"):
        shutil.copy(FOLDER / file, tmp_path)
    make_ideas.main(tmp_path, is_check=False)  # the index of one idea
    assert make_ideas.main(tmp_path, is_check=True) == 0
    capsys.readouterr()

    page.write_text(page.read_text(encoding="utf-8").replace("73,728", "73,729"), encoding="utf-8")
    assert make_ideas.main(tmp_path, is_check=True) == 1
    assert capsys.readouterr().out == f"out of date: {name}.md; run: make format\n"
    monkeypatch.setattr(small_kernels, "CHANNELS", 32)
    (tmp_path / "README.md").write_text("<!-- generated: index -->\n<!-- end -->\n", encoding="utf-8")
    assert make_ideas.main(tmp_path, is_check=True) == 1
    assert capsys.readouterr().out == f"out of date: README.md, {name}.md, {name}.svg; run: make format\n"
    assert make_ideas.main(tmp_path, is_check=False) == 0
    assert make_ideas.main(tmp_path, is_check=True) == 0
    (tmp_path / f"{name}.svg").unlink()
    assert make_ideas.main(tmp_path, is_check=True) == 1
