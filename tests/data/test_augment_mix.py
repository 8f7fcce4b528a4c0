import numpy as np
import pytest

from depthwise.data import augment, augment_colour, augment_erase, augment_maps, augment_mix, augment_policy
from depthwise.data.augment_mix import blend, plan_mix
from depthwise.data.order import mix

IDS = mix(np.arange(2000), 5)


def plan(ids=IDS, *, seed=0, epoch=0, mixup=0.0, cutmix=0.0):
    return plan_mix(ids, seed, epoch, mixup=mixup, cutmix=cutmix)


@pytest.mark.parametrize("number", [2, 3, 64, 2000])
def test_everyone_is_somebody_s_partner_and_nobody_their_own(number):
    partners = plan(IDS[:number], mixup=0.2).partners
    assert sorted(partners) == list(range(number))
    assert (partners != np.arange(number)).all()


def test_a_sample_alone_is_its_own_partner():
    assert plan(IDS[:1], mixup=0.2).partners.tolist() == [0]


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0])
def test_shares_have_beta_s_mean_and_variance(alpha):
    shares = plan(mixup=alpha).shares
    assert abs(shares.mean() - 0.5) < 0.03
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_shares_of_alpha_1_are_uniform():
    counts, _ = np.histogram(plan(cutmix=1.0).shares, bins=10, range=(0, 1))
    assert counts.min() > 150 and counts.max() < 250  # 200 each: under four standard deviations


def test_one_kind_or_either_by_chance():
    assert not plan(mixup=0.2).is_cut.any()
    assert plan(cutmix=1.0).is_cut.all()
    assert 0.45 < plan(mixup=0.2, cutmix=1.0).is_cut.mean() < 0.55


def test_a_sample_s_share_does_not_depend_on_its_batch():
    whole, part = plan(mixup=0.4, cutmix=1.0), plan(IDS[100:110], mixup=0.4, cutmix=1.0)
    assert np.array_equal(whole.shares[100:110], part.shares)
    assert np.array_equal(whole.is_cut[100:110], part.is_cut)


@pytest.mark.parametrize("other", [{"seed": 1}, {"epoch": 1}])
def test_another_seed_or_epoch_pairs_and_mixes_otherwise(other):
    one, two = plan(mixup=0.4), plan(mixup=0.4, **other)
    assert not np.array_equal(one.partners, two.partners)
    assert not np.array_equal(one.shares, two.shares)


def flat(value: int, number: int = 300) -> np.ndarray:
    return np.full((number, 16, 16, 3), value, np.uint8)


def test_mixup_weighs_pixels_by_the_share_that_it_returns():
    shares = np.linspace(0, 1, 300)
    images, exact = blend(flat(200), flat(40), IDS[:300], 0, 0, shares, np.zeros(300, bool))
    expected = exact * 200 + (1 - exact) * 40
    assert np.abs(images[:, 3, 5, 1] - expected).max() <= 0.5
    assert np.abs(exact - shares).max() <= 1 / 512
    assert (images[0] == 40).all() and (images[-1] == 200).all()


def test_cutmix_returns_the_share_of_pixels_that_are_left():
    shares = np.linspace(0, 1, 300)
    images, exact = blend(flat(200), flat(40), IDS[:300], 0, 0, shares, np.ones(300, bool))
    assert set(np.unique(images)) == {40, 200}
    assert np.allclose((images[..., 0] == 200).mean(axis=(1, 2)), exact)
    assert (exact >= shares - 0.1).all()  # a rectangle over the edge covers less
    assert (images[-1] == 200).all()
    for picture in images[:50, :, :, 0]:  # one rectangle
        rows, columns = (picture == 40).any(axis=1), (picture == 40).any(axis=0)
        assert (picture == 40).sum() == rows.sum() * columns.sum()


def test_the_given_pictures_stay_as_they_were():
    one, two = flat(200, 4), flat(40, 4)
    blend(one, two, IDS[:4], 0, 0, np.full(4, 0.5), np.array([True, False] * 2))
    assert (one == 200).all() and (two == 40).all()


def noting(draw, salts):
    def noted(ids, *asked):
        salts.update(asked[2:])
        return draw(ids, *asked)

    return noted


def test_no_two_changes_share_a_draw(monkeypatch):
    drawn = {}
    for module in (augment, augment_maps, augment_colour, augment_erase, augment_policy, augment_mix):
        for name in {"mix", "uniform"} & set(vars(module)):
            monkeypatch.setattr(module, name, noting(getattr(module, name), drawn.setdefault(module.__name__, set())))
    pictures, rows = np.full((64, 8, 8, 3), 128, np.uint8), np.arange(64)
    everything = {"flip": True, "vertical_flip": True, "rotate": 20.0, "jitter": 0.3, "hue": 0.1, "pca_noise": 0.1}
    for cut in ({"crop": 0.1}, {"scale_min": 0.3}, {"short_side": (9, 12)}):
        how = augment.Augmentation(
            **everything, **cut, policy="randaugment", policy_ops=14, erase=1.0, augment_warmup=2.0
        )
        augment.augment(pictures, rows, IDS[:64], 0, 1, how, 8)
    mixed = plan(IDS[:64], mixup=0.2, cutmix=2.0)
    blend(pictures, pictures[mixed.partners], IDS[:64], 0, 0, mixed.shares, mixed.is_cut)
    salts = [salt for module in drawn.values() for salt in module]
    assert len(drawn) == 6 and len(salts) == len(set(salts)) > 60
