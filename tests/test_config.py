"""A configuration from JSON: what is refused, and that the message names the path and the nearest name."""

import copy
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from resmom.called import called_by
from resmom.config import ConfigError, Run, field_names, from_json, to_json
from resmom.configcheck import check, check_term
from resmom.errors import UserError
from resmom.losses.residual import Residual
from resmom.methods.byol import Byol
from resmom.methods.dino import Dino
from resmom.methods.dinov2 import Dinov2
from resmom.methods.ibot import Ibot
from resmom.methods.mocov3 import MoCoV3
from resmom.methods.ressl import ReSSL
from resmom.methods.simclr import SimCLR
from resmom.nets.backbones import DinoViT, MoCoViT, ResNet, SmallResNet, Timm
from resmom.recipes import names, recipe, with_residual
from resmom.train.optim import Adam, AdamW, Lars, Sgd
from resmom.types import Traits


def changed(path: str, value: Any) -> dict[str, Any]:
    """The default run as JSON with one value set; a path such as policy.views.0.size."""
    plain: dict[str, Any] = json.loads(json.dumps(to_json(Run())))
    *parents, last = path.split(".")
    inner: Any = plain
    for step in parents:
        inner = inner[int(step) if isinstance(inner, list) else step]
    inner[last] = value
    return plain


def without(path: str) -> dict[str, Any]:
    """The default run as JSON with one value missing."""
    plain = changed(path, None)
    *parents, last = path.split(".")
    inner: Any = plain
    for step in parents:
        inner = inner[step]
    del inner[last]
    return plain


def refusal(plain: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        from_json(plain)
    text = str(caught.value)
    assert text.startswith("the configuration cannot be used: ") and "\n" not in text
    return text


@pytest.mark.parametrize("method", [MoCoV3(0.3), Byol(hidden=7)])
@pytest.mark.parametrize("backbone", [SmallResNet((4, 8)), MoCoViT("tiny"), Timm("resnet10t", image=None)])
@pytest.mark.parametrize("optim", [Sgd(), Lars(form="clipped"), AdamW(betas=(0.8, 0.99)), Adam(betas=(0.8, 0.99))])
def test_round_trip_through_text(method: Any, backbone: Any, optim: Any) -> None:
    run = Run(method=method, backbone=backbone, optim=optim)
    assert from_json(json.loads(json.dumps(to_json(run)))) == run


def test_reading_leaves_its_input_alone() -> None:
    plain = to_json(Run())
    before = copy.deepcopy(plain)
    from_json(plain)
    assert plain == before


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        ("residul", "residual"),
        ("train.epoch", "epochs"),
        ("method.temprature", "temperature"),
        ("backbone.dept", "depth"),
        ("optim.weight_decai", "weight_decay"),
        ("policy.views.0.blurr", "blur"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(path: str, suggestion: str) -> None:
    text = refusal(changed(path, 1))
    *parents, last = path.split(".")
    assert f"unknown '{last}', did you mean '{suggestion}'?" in text
    assert not parents or parents[0] in text


def test_an_unknown_name_without_a_near_one_is_named_alone() -> None:
    text = refusal(changed("train.xyzzyq", 1))
    assert "unknown 'xyzzyq'" in text and "did you mean" not in text


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("train.epochs", "100", "expected int, got '100'"),
        ("train.epochs", 1.5, "expected int, got 1.5"),
        ("train.epochs", True, "expected int, got True"),
        ("train.epochs", None, "expected int, got None"),
        ("optim.lr", True, "expected float, got True"),
        ("optim.lr", "0.1", "expected float, got '0.1'"),
        ("backbone.zero_init_residual", 1, "expected bool, got 1"),
        ("recipe", 3, "expected str, got 3"),
        ("policy.views.1.size", "32", "expected int, got '32'"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(path: str, value: object, expected: str) -> None:
    text = refusal(changed(path, value))
    assert expected in text
    for step in path.split("."):
        assert (f"[{step}]" if step.isdigit() else step) in text


def test_an_int_is_welcome_as_a_float() -> None:
    run = from_json(changed("optim.lr", 1))
    assert run.optim.lr == 1.0 and type(run.optim.lr) is float


@pytest.mark.parametrize(
    ("path", "value"), [("train.precision", "fp8"), ("residual.site", "q"), ("backbone.depth", 19)]
)
def test_a_value_outside_the_choices_is_refused(path: str, value: object) -> None:
    text = refusal(changed(path, value))
    assert path.split(".")[1] in text and str(value) in text


@pytest.mark.parametrize("part", ["method", "backbone", "optim"])
def test_kinds(part: str) -> None:
    unknown = refusal(changed(f"{part}.kind", "MoCoV4"))
    assert "MoCoV4" in unknown and part in unknown
    missing = refusal(without(f"{part}.kind"))
    assert "kind" in missing and part in missing


@pytest.mark.parametrize("plain", [[], "a run", 3, {"train": 3}, {"method": []}, {"policy": {"views": 3}}])
def test_other_shapes_than_a_run_are_refused(plain: Any) -> None:
    refusal(plain)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("train.epochs", 0, "train.epochs must be at least 1"),
        ("train.warmup_epochs", 100, "the warm-up must be shorter than the run"),
        ("residual.weight", -1, "residual.weight is -1.0"),
        ("ema.momentum", 1.5, "ema.momentum and ema.final must be in [0, 1]"),
        ("method.temperature", 0, "method.temperature is 0.0"),
        ("policy.views.0.blur", 3, "View.blur is a probability"),
    ],
)
def test_impossible_values_are_refused_in_the_parts_own_words(path: str, value: object, words: str) -> None:
    assert words in refusal(changed(path, value))


def test_all_mistakes_are_told_at_once() -> None:
    plain = changed("train.epochs", "many")
    plain["ema"]["momentun"] = 0.9
    text = refusal(plain)
    assert "expected int, got 'many'" in text and "did you mean 'momentum'?" in text


def test_field_names_know_the_whole_tree() -> None:
    assert {"recipe", "temperature", "predictor_hidden", "widths", "blur", "betas", "knn_epochs"} <= field_names(Run)


def test_a_good_run_passes() -> None:
    check(Run())


@pytest.mark.parametrize("views", [1, 3])
def test_check_wants_two_views(views: int) -> None:
    run = Run()
    with pytest.raises(UserError, match=f"MoCo-v3 takes 2 views, policy.views has {views}"):
        check(replace(run, policy=replace(run.policy, views=run.policy.views[:1] * views)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_check_names_the_number_that_is_not_finite(bad: float) -> None:
    run = Run()
    with pytest.raises(ConfigError, match=r"optim.lr is (nan|inf)"):
        check(replace(run, optim=Sgd(lr=bad)))
    view = replace(run.policy.views[1], ratio=(0.5, 2.0))
    with pytest.raises(ConfigError, match=r"policy.mean.1 is (nan|inf)"):
        check(replace(run, policy=replace(run.policy, views=(view, view), mean=(0.5, bad, 0.5))))
    with pytest.raises(ConfigError, match=r"online.lr is (nan|inf)"):
        check(replace(run, online=replace(run.online, lr=bad)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("train.epochs", 10**400),
        ("train.batch", 2**31),
        ("log.knn_epochs", 1e308),
        ("log.save_epochs", 1e300),
        ("optim.lr", 1e300),
        ("optim.weight_decay", -1e300),
        ("method.temperature", 1e38),
        ("method.hidden", 2**63),
        ("residual.weight", 1e39),
    ],
)
def test_check_refuses_numbers_beyond_what_is_computed_in(path: str, value: float) -> None:
    """They would end in an overflow once the run has begun."""
    most = "2147483647" if isinstance(value, int) else r"1e\+30"
    with pytest.raises(ConfigError, match=rf"{path} is beyond any use: its size must be at most {most}$"):
        check(from_json(changed(path, value)))
    check(from_json(changed("train.seed", 2**32 - 1)))


def test_a_whole_number_that_no_float_holds_is_refused() -> None:
    assert "expected float, got a whole number that is too large" in refusal(changed("optim.lr", 10**400))


@pytest.mark.parametrize("optim", [Sgd(momentum=-1), Lars(momentum=1.0), AdamW(betas=(1.5, 0.9)), Adam(betas=(0.9, 1))])
def test_check_refuses_averages_that_are_none(optim: Any) -> None:
    with pytest.raises(ConfigError, match=r"optim\.(momentum is|betas are) .* at least 0 and below 1"):
        check(replace(Run(), optim=optim))


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("backbone", SmallResNet(()), "backbone.widths"),
        ("backbone", SmallResNet((0, 8)), "backbone.widths"),
        (
            "backbone",
            MoCoViT(image=30, patch=16),
            r"patch 16; set the side \(with_side of resmom.recipes.side\) to 16 or 32, or another backbone.patch",
        ),
        (
            "backbone",
            MoCoViT(image=8, patch=16),
            r"backbone.image 8 is not a multiple .* set the side \(with_side .*\) to 16, or",
        ),
        ("backbone", MoCoViT(image=32, patch=0), "backbone.patch is 0; it must be at least 1"),
        ("backbone", MoCoViT(image=32, patch=16), "backbone.image is 32, but view 0"),
        ("optim", Sgd(lr=0.0), "optim.lr"),
        ("optim", Lars(lr=-0.1), "optim.lr"),
    ],
)
def test_check_refuses_what_cannot_train(part: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        check(replace(Run(), **{part: value}))


def multicrop(run: Run, *sides: int) -> Run:
    """The run as DINO with views of these sides."""
    views = tuple(replace(run.policy.views[0], size=side) for side in sides)
    return replace(run, method=Dino(), residual=Residual(0.0, "z"), policy=replace(run.policy, views=views))


@pytest.mark.parametrize(
    ("sides", "words"),
    [
        ((224,), "DINO takes at least 2 views, policy.views has 1"),
        ((224, 192), r"the global views of DINO .* have the sides 192, 224"),
        ((224, 224, 96, 64), r"the local views of DINO .* have the sides 64, 96"),
        ((192, 192, 96), "backbone.image is 224, but view 0 has side 192"),
        ((224, 224, 90), "view 2 has side 90, which is not a multiple of backbone.patch 16"),
    ],
)
def test_check_refuses_views_that_do_not_go_together(sides: tuple[int, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(multicrop(replace(Run(), backbone=DinoViT()), *sides))


@pytest.mark.parametrize("backbone", [DinoViT(), MoCoViT(), Timm()])
def test_check_takes_local_views(backbone: Any) -> None:
    check(multicrop(replace(Run(), backbone=backbone), 224, 224, 96, 96))


def test_check_refuses_to_hide_patches_of_what_has_none() -> None:
    run = multicrop(replace(Run(), backbone=DinoViT()), 224, 224, 96)
    check(replace(run, method=Ibot()))
    check(replace(run, method=Ibot(), backbone=Timm("vit_tiny_patch16_224")))
    for backbone in (ResNet(), Timm("resnet10t")):
        with pytest.raises(UserError, match=f"iBOT hides patches .* the backbone is {type(backbone).__name__}"):
            check(replace(run, method=Ibot(), backbone=backbone))


def test_a_run_without_a_predictor_has_no_site_p() -> None:
    run = replace(recipe("mocov3_digits"), method=MoCoV3(predictor_layers=0), residual=Residual(1.0, "p"))
    with pytest.raises(UserError, match=r"MoCo-v3 as it is set has no site p; residual\.site is one of h, z for it"):
        check(run)
    check(replace(run, residual=Residual(1.0, "z")))
    check(replace(run, residual=Residual(0.0, "p")))
    assert with_residual(run).residual.site == "z"


def test_check_refuses_a_residual_term_where_the_method_has_no_such_site(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is built, and with the sites there are."""
    run = replace(recipe("mocov3_digits"), residual=Residual(1.0, "p"))
    monkeypatch.setattr(MoCoV3, "traits", Traits(sites=("h", "z")))
    with pytest.raises(UserError, match="MoCo-v3 as it is set has no site p"):
        check(run)
    monkeypatch.setattr(MoCoV3, "traits", Traits(sites=()))
    with pytest.raises(UserError, match="MoCo-v3 has no teacher, so there is no gap to close"):
        check(run)
    check(replace(run, residual=Residual(0.0, "p")))


@pytest.mark.parametrize(
    ("method", "site"), [(ReSSL(), "p"), (Byol(), "logits"), (MoCoV3(predictor_layers=0), "p"), (SimCLR(), "z")]
)
def test_a_term_that_can_never_be_is_refused_while_it_is_off_where_it_was_asked_for(method: Any, site: Any) -> None:
    """A default says nothing: recipes of methods without a predictor, or without a teacher, may keep it."""
    run = replace(recipe("mocov3_digits"), method=method, residual=Residual(0.0, site))
    check(run)
    check_term(replace(run, residual=Residual()))
    with pytest.raises(
        ConfigError, match=rf"has no site {site}; residual\.site is one of|SimCLR has no teacher.*leave"
    ):
        check_term(run, ["residual.site"])
    if method.traits.teacher and site != Residual.site:  # nobody has set that by leaving it out
        with pytest.raises(ConfigError, match="has no site"):
            check_term(run)
    else:
        check_term(run)


def test_what_the_term_lacks_is_named() -> None:
    def refused(method: Any, **term: Any) -> str:
        run = replace(recipe("mocov3_digits"), method=method, residual=Residual(0.0, **term))
        with called_by("options"), pytest.raises(ConfigError) as error:
            check_term(run, [f"residual.{name}" for name in term])
        return str(error.value)

    assert "; for logits leave --method.patch-pairs out" in refused(Dinov2(patch_pairs=True), site="logits")
    assert "patch_pairs" not in refused(Dinov2(patch_pairs=True), site="p")
    assert refused(Dinov2(), site="z", pairs="patch").endswith("; 'patch' needs --method.patch-pairs")
    assert refused(Ibot(), site="z", pairs="local").endswith("; 'local' needs --method.local-pairs")
    assert refused(Byol(), pairs="dense").endswith("is one of all, global for it")
    assert "'cross' needs the student on both views" in refused(ReSSL(), site="z", pairing="cross")
    check_term(replace(recipe("mocov3_digits"), method=Dinov2(), residual=Residual(0.0, "logits")), ["residual.site"])


@pytest.mark.parametrize("name", names())
def test_no_recipe_asks_for_what_its_term_can_never_be(name: str) -> None:
    check_term(recipe(name))


def test_a_choice_that_does_not_exist_is_told_with_those_that_do() -> None:
    plain = to_json(Run())
    plain["residual"]["pairing"] = "other"
    with pytest.raises(ConfigError, match=r"it is one of same, cross; got other @ run\.residual\.pairing$"):
        from_json(plain)


def test_numbers_of_numpy_are_numbers() -> None:
    run = Run()
    check(replace(run, optim=replace(run.optim, lr=np.float64(0.1))))
    with pytest.raises(ConfigError, match=r"optim\.lr is beyond any use"):
        check(replace(run, optim=replace(run.optim, lr=np.float64(1e300))))
