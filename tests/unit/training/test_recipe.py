from pathlib import Path

import pytest

from ghostpen.config import DataConfig, LoraConfig, ModelConfig, RunConfig, TrainConfig
from ghostpen.tiers import choose_tier
from ghostpen.training.recipe import apply_recipe, build_recipe


def make_config(*, rank: int | None = None, **train: object) -> RunConfig:
    return RunConfig(
        name="a",
        data=DataConfig(dir=Path("d")),
        model=ModelConfig(name="embedded:tiny"),
        lora=LoraConfig(rank=rank),
        train=TrainConfig.model_validate(train),
    )


@pytest.mark.parametrize(
    ("words", "tier", "rank"),
    [(0, "small", 8), (24_999, "small", 8), (25_000, "middle", 16), (250_000, "large", 32), (10**9, "large", 32)],
)
def test_tier_follows_the_words(words: int, tier: str, rank: int) -> None:
    recipe = build_recipe(make_config(), words=words, samples=100)
    assert (choose_tier(words).name, recipe.tier, recipe.rank) == (tier, tier, rank)


def test_open_settings_come_from_the_tier() -> None:
    recipe = build_recipe(make_config(batch_size=4, gradient_accumulation=2), words=100_000, samples=100)

    # 3 passes over 100 samples, 8 a step: 37.5, so 38; a tenth of that, rounded up, is 4.
    assert (recipe.steps, recipe.epochs) == (38, pytest.approx(38 / 12.5))
    assert (recipe.learning_rate, recipe.schedule) == (2e-4, "cosine")
    assert (recipe.eval_every, recipe.checkpoint_every) == (4, 4)


def test_settings_win_over_the_tier() -> None:
    config = make_config(rank=4, max_steps=7, learning_rate=1e-3, schedule="linear", eval_every=2, checkpoint_every=3)
    recipe = build_recipe(config, words=10, samples=56)

    assert (recipe.rank, recipe.steps, recipe.learning_rate, recipe.schedule) == (4, 7, 1e-3, "linear")
    assert (recipe.eval_every, recipe.checkpoint_every) == (2, 3)
    assert recipe.epochs == 1.0  # 7 steps of 8 samples each, of 56


def test_epochs_are_counted_in_samples() -> None:
    assert build_recipe(make_config(epochs=0.5, batch_size=8), words=10, samples=80).steps == 5
    assert build_recipe(make_config(epochs=0.001), words=10, samples=8).steps == 1


def test_applied_recipe_leaves_nothing_open_and_changes_nothing_else() -> None:
    config = make_config(seed=7)
    recipe = build_recipe(config, words=10, samples=80)
    applied = apply_recipe(config, recipe)

    open_before = {key for key, value in config.train.model_dump().items() if value is None}
    assert open_before == {"max_steps", "epochs", "learning_rate", "schedule", "eval_every", "checkpoint_every"}
    assert {key for key, value in applied.train.model_dump().items() if value is None} == {"epochs"}
    assert applied.train.seed == 7
    assert (applied.lora.rank, applied.lora.scale_alpha) == (8, 16.0)
    assert build_recipe(applied, words=10, samples=80).to_json() == recipe.to_json()  # nothing left to choose


def test_recipe_is_said_in_a_line() -> None:
    line = build_recipe(make_config(), words=12_345, samples=80).describe()
    assert line == (
        "12,345 words of training text (small): rank 8, learning rate 0.0002 (cosine), 20 steps = 2.0 passes"
    )
