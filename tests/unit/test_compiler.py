"""The compiler that environment.yml brings: what Triton and torch.compile ask of it, as far as a CPU can tell.

Not the GPU's code itself: Triton compiles that without a compiler of C.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

# In a conda environment, such as the image's, environment.yml has promised a compiler. Elsewhere nobody needs one.
PROMISED = "CONDA_PREFIX" in os.environ


@pytest.mark.skipif(
    not PROMISED and not shutil.which("gcc"), reason="no gcc here; with Debian's (apt-get install gcc) this runs"
)
def test_triton_s_link_to_the_gpu_driver_compiles(tmp_path: Path) -> None:
    from triton.backends.nvidia import driver
    from triton.runtime.build import _build

    # The driver's library comes with the machine's GPU. Its name is all that linking needs.
    library = tmp_path / driver.libraries[0]
    subprocess.run(["gcc", "-shared", "-x", "c", os.devnull, "-o", library], check=True)
    source = Path(driver.__file__).with_name("driver.c")
    built = _build(
        "cuda_utils", str(source), str(tmp_path), [str(tmp_path)], driver.include_dirs, driver.libraries, []
    )
    assert built.endswith(sysconfig.get_config_var("EXT_SUFFIX"))
    assert b"PyInit_cuda_utils" in Path(built).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not PROMISED, reason="half a minute for the image's own compiler: scripts/test-image runs it")
def test_torch_compile_s_code_for_the_cpu_compiles(tmp_path: Path) -> None:
    script = (
        "import torch\n"
        "@torch.compile(fullgraph=True)\n"
        "def double_sine(x): return x.sin() * 2\n"
        "print(double_sine(torch.tensor([0.0, torch.pi / 2])).tolist())\n"
    )
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[0.0, 2.0]\n"), done.stderr
    assert list(tmp_path.rglob("*.so"))
