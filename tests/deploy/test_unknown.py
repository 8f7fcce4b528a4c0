import json

import numpy as np
import pytest

from depthwise.deploy import unknown_choice
from depthwise.deploy.unknown import Reference, Unknown, fit_reference, known_score
from depthwise.deploy.unknown_choice import Part, Trial, apply_head, choose_unknown, fit_head, threshold_for


def clouds(rng, per_class, num_classes=4, width=12):
    """Classes lie along their own axes; axis 10 varies in all of them, axis 11 in none."""
    labels = np.repeat(np.arange(num_classes), per_class)
    features = rng.normal(0, 0.3, (len(labels), width))
    features[:, 10] *= 20
    features[:, 11] *= 0.1
    features[np.arange(len(labels)), labels] += 4
    return features.astype(np.float32), labels


def test_distance_is_mahalanobis():
    """Variances 4 and 1 along the axes, one mean at the origin: (2, 0) and (0, 1) are equally far."""
    reference = Reference(np.zeros((1, 2), np.float16), np.eye(2, dtype=np.float16)[:1], (1 / 4, 1.0))
    found = reference.distance(np.array([[2, 0], [0, 1], [2, 1]], np.float32))
    assert found == pytest.approx([1, 1, 2])


def test_the_nearest_mean_counts():
    means = np.array([[0, 0], [10, 0]], np.float16)
    reference = Reference(means, np.eye(2, dtype=np.float16)[:1], (1.0, 1.0))
    assert reference.distance(np.array([[9, 0], [1, 0]], np.float32)) == pytest.approx([1, 1])


def test_the_reference_learns_along_which_axes_photos_vary():
    features, labels = clouds(np.random.default_rng(0), 100)
    reference = fit_reference(features, labels)
    far_along, far_across = (features[:1] + 6 * np.eye(12, dtype=np.float32)[axis] for axis in (10, 11))
    assert reference.distance(far_along) < reference.distance(far_across) / 3
    assert abs(reference.directions[0][10]) > 0.99


def test_max_softmax_and_energy_by_hand():
    logits = np.log(np.array([[1, 3], [6, 2]])).astype(np.float32)
    assert known_score("max_softmax", logits, None, None) == pytest.approx([0.75, 0.75], abs=1e-6)
    assert known_score("energy", logits, None, None) == pytest.approx(np.log([4, 8]), abs=1e-6)
    assert np.isfinite(known_score("energy", np.float32([[1000, 0]]), None, None)).all()


def test_a_linear_head_learns_what_can_be_told_apart():
    features, labels = clouds(np.random.default_rng(1), 60)
    assert (apply_head(fit_head(features, labels, 4), features).argmax(axis=1) == labels).mean() > 0.98


def test_at_most_the_wanted_share_is_below_the_threshold():
    scores = np.random.default_rng(2).normal(0, 1, 200)
    assert (scores < threshold_for(scores, 0.02)).sum() == 4
    assert (scores < threshold_for(scores, 0.001)).sum() == 0
    assert (-scores < threshold_for(-scores, 0.5)).sum() == 100


@pytest.fixture(scope="module")
def chosen():
    rng = np.random.default_rng(3)
    parts = []
    for per_class in (80, 50):
        features, labels = clouds(rng, per_class)
        parts.append(Part(10 * features[:, :4], features, labels))
    return choose_unknown(*parts, 0.02), parts[1]


def test_a_decoy_is_rejected_and_the_known_are_not(chosen):
    unknown, valid = chosen
    assert unknown.kind == "distance" and unknown.auroc["distance"] > 0.95
    assert (unknown.num_rejected, unknown.num_images) == (4, 200)
    rng = np.random.default_rng(4)
    decoy, _ = clouds(rng, 25)
    decoy[:, :4] = rng.normal(0, 0.3, (100, 4))
    decoy[:, 7] += 4
    assert (unknown.score(decoy[:, :4], decoy) < unknown.threshold).mean() > 0.9
    assert (unknown.score(valid.logits, valid.features) < unknown.threshold).mean() == 0.02


def test_it_goes_through_json_and_is_the_same(chosen):
    unknown, valid = chosen
    again = Unknown.from_json(json.loads(json.dumps(unknown.to_json())))
    assert (again.score(valid.logits, valid.features) == unknown.score(valid.logits, valid.features)).all()
    assert again.threshold == unknown.threshold
    assert unknown.reference.num_bytes == len(again.reference.to_json()["means"]["data"]) + len(
        again.reference.to_json()["directions"]["data"]
    )


def test_a_distance_without_reference_is_refused(chosen):
    values = chosen[0].to_json() | {"reference": None}
    with pytest.raises(ValueError, match="a distance needs a reference"):
        Unknown.from_json(values)


def test_without_features_only_logits_are_asked():
    rng = np.random.default_rng(5)
    _, labels = clouds(rng, 30)
    logits = (rng.normal(0, 1, (120, 4)) + 5 * np.eye(4)[labels]).astype(np.float32)
    part = Part(logits, None, labels)
    found = choose_unknown(part, part, 0.05)
    assert set(found.auroc) == {"max_softmax", "energy"} and found.reference is None
    assert not found.needs_features


def test_noise_has_no_good_score():
    rng = np.random.default_rng(6)
    labels = np.repeat(np.arange(4), 40)
    features = rng.normal(0, 1, (160, 6)).astype(np.float32)
    part = Part(features[:, :4], features, labels)
    assert max(choose_unknown(part, part._replace(labels=rng.permutation(labels)), 0.02).auroc.values()) < 0.65


@pytest.mark.parametrize(("energy", "kind"), [(0.92, "distance"), (0.96, "energy")])
def test_a_score_of_logits_must_lead_clearly(energy, kind, monkeypatch):
    measured = {"max_softmax": 0.5, "energy": energy, "distance": 0.9}
    monkeypatch.setattr(
        unknown_choice, "_leave_out", lambda *_: {name: Trial(value, 0.5) for name, value in measured.items()}
    )
    features, labels = clouds(np.random.default_rng(7), 20)
    part = Part(features[:, :4], features, labels)
    assert choose_unknown(part, part, 0.1).kind == kind
