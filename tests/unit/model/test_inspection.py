import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.headers import GPT_OSS_20B, count_bytes, list_gpt_oss_20b, write_header, write_index
from typer.testing import CliRunner

from ghostpen.cli import app
from ghostpen.config import load_inspected_config
from ghostpen.errors import ConfigError, ModelError
from ghostpen.model.inspection import Inspection, inspect_model, render_inspection

ROOT = Path(__file__).parents[3]
LAYOUTS = ["bf16", "mxfp4", "split"]


def write_model(folder: Path, layout: str = "bf16", *, index: bool = False, **changes: Any) -> str:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(GPT_OSS_20B | changes))
    tensors = list_gpt_oss_20b(layout)
    if index:
        write_index(folder / "model.safetensors.index.json", tensors)
    else:
        write_header(folder / "model.safetensors", tensors)
    return str(folder)


def inspect_with(name: str, *settings: str, gpu_bytes: int | None = None) -> Inspection:
    return inspect_model(name, load_inspected_config(None, settings, model=name), gpu_bytes=gpu_bytes)


@pytest.fixture(params=LAYOUTS, scope="module")
def inspected(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Inspection]:
    name = write_model(tmp_path_factory.mktemp("model"), request.param, index=request.param == "mxfp4")
    return request.param, inspect_model(name)


def test_inspection_of_gpt_oss_20b_gives_the_published_sizes(inspected: tuple[str, Inspection]) -> None:
    architecture = inspected[1].architecture

    assert architecture.parameters == pytest.approx(20.9e9, abs=0.1e9)
    assert architecture.parameters_active == pytest.approx(3.6e9, abs=0.1e9)
    assert (architecture.layers, architecture.experts, architecture.experts_per_token) == (24, 32, 4)
    assert architecture.layer_types == {"full_attention": 12, "sliding_attention": 12}
    assert (architecture.hidden_size, architecture.vocabulary_size) == (2880, 201088)
    assert (architecture.sliding_window, architecture.router_aux_loss_coef) == (128, 0.9)


def test_inspection_of_gpt_oss_20b_gives_the_bytes_of_its_layout(inspected: tuple[str, Inspection]) -> None:
    layout, inspection = inspected
    published = {"bf16": 41.8e9, "mxfp4": 13.8e9, "split": 13.5e9}[layout]

    assert inspection.weight_bytes == pytest.approx(published, rel=0.01)
    assert inspection.checkpoint.size_bytes == count_bytes(list_gpt_oss_20b(layout))
    # By the formula as by the files, to the odd end of a block of scales.
    assert inspection.weight_bytes == pytest.approx(inspection.checkpoint.size_bytes, rel=1e-4)
    assert inspection.memory.weights == inspection.weight_bytes


@pytest.mark.parametrize("rank", [1, 8, 16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_inspection_of_gpt_oss_20b_counts_the_adapter(tmp_path: Path, layout: str, rank: int) -> None:
    name = write_model(tmp_path, layout)
    architecture = inspect_with(
        name, f"lora.rank={rank}", f"model.load_in_4bit={str(layout == 'split').lower()}"
    ).architecture

    totals = {"attention": 0, "experts": 0}
    for kind, count in architecture.trainable.items():
        totals[kind.partition(".")[0]] += count
    # Attention, a layer: q and o (2880 + 4096), k and v (2880 + 512), each twice: 20,736; times 24 = 497,664.
    # Experts: 24 layers of 32 of (2880 + 5760) + (2880 + 2880) = 14,400: 11,059,200.
    assert totals == {"attention": 497_664 * rank, "experts": 11_059_200 * rank}


def test_inspection_of_gpt_oss_20b_names_targets_as_peft_finds_them(inspected: tuple[str, Inspection]) -> None:
    layout, inspection = inspected
    found = inspection.architecture
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")

    assert found.expert_layout == inspection.loading.layout == ("split" if layout == "split" else "fused")
    if layout == "split":
        experts = {f"mlp.experts.{name}.{n}" for name in ("gate_up_projs", "down_projs") for n in range(32)}
        assert found.target_parameters == ()
        assert found.target_modules[:4] == attention
        assert set(found.target_modules[4:]) == experts
    else:
        assert found.target_modules == attention
        assert set(found.target_parameters) == {"mlp.experts.gate_up_proj", "mlp.experts.down_proj"}


def test_inspection_folds_layers_and_experts_and_adds_up(inspected: tuple[str, Inspection]) -> None:
    layout, inspection = inspected
    tree = inspection.architecture.tree
    down = "down_projs.*.weight" if layout == "split" else "down_proj"
    router = "router.linear.weight" if layout == "split" else "router.weight"

    assert tree[f"model.layers.*.mlp.experts.{down}"] == 24 * 32 * 2880 * 2880
    assert tree[f"model.layers.*.mlp.{router}"] == 24 * 32 * 2880
    assert tree["model.layers.*.self_attn.sinks"] == 24 * 64
    assert sum(tree.values()) == inspection.architecture.parameters


def test_inspection_as_json_holds_every_part(inspected: tuple[str, Inspection]) -> None:
    told = json.loads(inspected[1].to_json())

    assert told["parameters"] == inspected[1].architecture.parameters
    assert told["trainable"] == inspected[1].architecture.trainable
    assert told["checkpoint"]["experts"] == {"bf16": "16 bit", "mxfp4": "mxfp4", "split": "nf4"}[inspected[0]]
    assert told["memory"]["total"] == inspected[1].memory.total > told["memory"]["weights"]
    assert (told["gpu_bytes"], told["fits"]) == (None, None)


def render(inspection: Inspection) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(render_inspection(inspection))
    return captured.get()


def test_rendered_inspection_shows_sizes_tree_targets_and_memory(inspected: tuple[str, Inspection]) -> None:
    layout, inspection = inspected
    text = render(inspection)

    stored = {"bf16": "fused, 16 bit", "mxfp4": "fused, mxfp4", "split": "split, nf4"}[layout]
    targets = "mlp.experts.gate_up_projs.{0..31}" if layout == "split" else "mlp.experts.gate_up_proj,"
    for shown in (
        "GptOssForCausalLM", "12 sliding attention", "32 a layer, 4 a token", "201,088", "184,909,824", stored,
        targets, f"{inspection.memory.total / 1e9:.2f}", "no GPU here",
    ):  # fmt: skip
        assert shown in text  # 184,909,824 = 16 * (497,664 + 11,059,200)


@pytest.mark.parametrize(("gpu_gb", "verdict"), [(80, "fits 80.0 GB"), (48, "does not fit 48.0 GB")])
def test_rendered_inspection_says_whether_it_fits(tmp_path: Path, gpu_gb: int, verdict: str) -> None:
    name = write_model(tmp_path)
    inspection = inspect_with(name, "train.batch_size=1", gpu_bytes=gpu_gb * 10**9)

    assert verdict in render(inspection)
    assert inspection.fits is (gpu_gb == 80)


@pytest.mark.parametrize(("gpu_gb", "layout"), [(24, "split"), (48, "mxfp4"), (80, "bf16")])
def test_inspect_with_a_profile_says_that_it_fits(tmp_path: Path, gpu_gb: int, layout: str) -> None:
    name = write_model(tmp_path, layout)
    profile = ROOT / f"configs/gpt-oss-20b-{gpu_gb}gb.toml"
    command = ["inspect", name, "--config", str(profile), "--gpu-memory", str(gpu_gb)]
    done = CliRunner().invoke(app, [*command, "--json"])

    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["fits"] is True
    shown = f"| total | {' | '.join(['.*'] * 3)} |".replace("|", r"\|")
    totals = re.findall(r"[\d.]+", re.search(shown, (ROOT / "docs/gpu.md").read_text(encoding="utf-8"))[0])  # type: ignore[index]
    assert f"{told['memory']['total'] / 1e9:.1f}" == totals[[24, 48, 80].index(gpu_gb)]
    assert f"fits {gpu_gb}.0 GB with a tenth of it left free" in CliRunner().invoke(app, command).stdout


def test_inspection_of_a_folder_with_another_s_name_reads_the_folder(tmp_path: Path) -> None:
    """As for a model in S3, whose description lies in a temporary folder."""
    write_model(tmp_path, "mxfp4", index=True)
    inspection = inspect_model("s3://bucket/model", description=tmp_path)

    assert (inspection.architecture.name, inspection.loading.name) == ("s3://bucket/model", "s3://bucket/model")
    assert inspection.checkpoint.experts == "mxfp4"


def test_inspection_of_a_broken_config_is_one_line(tmp_path: Path) -> None:
    name = write_model(tmp_path, num_hidden_layers="many")

    with pytest.raises(ModelError, match="could not be read"):
        inspect_model(name)


def test_inspection_of_too_few_layers_of_experts_is_one_line(tmp_path: Path) -> None:
    name = write_model(tmp_path, num_hidden_layers=25, layer_types=["full_attention"] * 25)

    with pytest.raises(ModelError, match=r"has 25 layers by its config\.json, and experts for 24; copy the model"):
        inspect_model(name)


def test_settings_for_an_inspection_need_no_texts_but_no_misspelt_key() -> None:
    config = load_inspected_config(None, ["lora.rank=3"], model="embedded:tiny")

    assert (config.lora.rank, config.model.name) == (3, "embedded:tiny")
    with pytest.raises(ConfigError, match="did you mean lora.rank"):
        load_inspected_config(None, ["lora.rang=3"], model="embedded:tiny")
