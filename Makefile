# Needs Python 3.11, git and make, nothing else; everything is installed into .venv/. `make` alone lists what there is.
# Where Python is not found by itself, name it: make repro PYTHON=/path/to/python3.11

.PHONY: help repro alone plan scale lab site test test-cluster lock setup
.DEFAULT_GOAL := help
PYTHON ?=
SCALE :=
CLUSTER := local
JOBS :=
OPTIONS :=

# DVC starts the stages' `python` through PATH: it has to be this environment's.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Without bytecode on disk each of some fifty kernels would compile torch again, for 12 seconds.
unexport PYTHONDONTWRITEBYTECODE
# Nothing of another environment, active or configured, may leak in.
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH VIRTUAL_ENV CONDA_PREFIX JUPYTER_PATH
unexport PIP_USER PIP_TARGET PIP_PREFIX UV_SYSTEM_PYTHON UV_TARGET UV_PREFIX UV_CONSTRAINT UV_OVERRIDE

help:
	@echo "make repro   set up, then run the study at the scale in params.yaml: every result, figure and notebook"
	@echo "make plan    set up, then list the cells, their cost and what is out of date; runs none of them"
	@echo "             both take SCALE=NAME, which puts a scale of scales/ into params.yaml first: make repro SCALE=paper"
	@echo "             make repro CLUSTER=slurm (Dask's jobqueue.yaml) or CLUSTER=tcp://HOST:8786 uses a cluster; JOBS=N cores or jobs"
	@echo "make lab     set up, then open the notebooks in JupyterLab; OPTIONS='--port 9999' go to it"
	@echo "make site    set up, then build the site from stored results, without the network: docs/built/html/index.html"
	@echo "make test    set up, then check the style and run every test, with the whole pipeline at the smoke scale;"
	@echo "             where Chromium is, the site and the playground, too"
	@echo "make test-cluster   set up, install SLURM with apt-get, run the smoke grid on it with a worker killed; needs root"
	@echo "make lock    resolve pyproject.toml into requirements.lock again; pins that still fit stay"

repro: alone scale
	@echo "==> the study: vpstudy repro"
	@.venv/bin/vpstudy repro --cluster "$(CLUSTER)" $(if $(JOBS),--jobs "$(JOBS)")

# Before any set-up: a second run would change the environment under the first.
alone:
	@[ ! -x .venv/bin/python ] || .venv/bin/python pipeline/alone.py

plan: scale
	@.venv/bin/vpstudy plan

scale: setup
	@[ -z "$(SCALE)" ] || .venv/bin/vpstudy scale "$(SCALE)"

lab: setup
	@echo "==> JupyterLab in notebooks/ (Ctrl-C twice ends it)"
	@.venv/bin/python -m jupyterlab --notebook-dir notebooks $(if $(filter 0,$(shell id -u)),--allow-root) $(OPTIONS)

SITE_PACKAGES = echo "==> packages of the site, beside those of the study"; \
    .venv/bin/python -m uv pip install --python .venv/bin/python --no-build-isolation --quiet --requirement requirements-site.lock
site: setup
	@$(SITE_PACKAGES)
	@echo "==> the site, from stored results: open docs/built/html/index.html"
	@.venv/bin/python -m sphinx -W --keep-going -q docs docs/built/html

test: setup
	@echo "==> ruff: lint and format, notebooks too"
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@echo "==> import-linter: pipeline above studies above vpstudy"
	@.venv/bin/lint-imports
	@[ -z "$$(command -v chromium)" ] || { $(SITE_PACKAGES); }
	@echo "==> pytest: two files of tests at a time, the slow ones first"
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test-cluster: setup
	@echo "==> pytest on a SLURM of one node, which Debian's packages install here"
	@VPSTUDY_TEST_CLUSTER=1 .venv/bin/python -m pytest tests/cluster

COMPILE = .venv/bin/python -m uv pip compile pyproject.toml --universal --python-version 3.11 \
    --no-header --no-annotate --no-emit-index-url --quiet
lock: setup
	@echo "==> requirements.lock and requirements-site.lock from pyproject.toml"
	@$(COMPILE) --extra dev --extra real --output-file requirements.lock
	@$(COMPILE) --extra site --constraint requirements.lock --output-file requirements-site.lock

setup: export SETUP = $(SETUP_SCRIPT)
setup:
	@sh -c "$$SETUP"

# .venv/installed says what the last complete set-up installed, and for which folder: an environment cannot be moved.
# .venv/unfinished stands there from a set-up's first moment to its last: one killed midway is not taken for complete.
define SETUP_SCRIPT
set -e
say() { echo "==> environment: $$*"; }
fail() { echo "$$*" >&2; exit 1; }
is_python() {  # is_python INTERPRETER LAST_MINOR: does it run, and is it 3.11 up to 3.LAST_MINOR?
    "$$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $$2))" 2>/dev/null
}
is_environment() {  # is .venv whole enough to install into? Half deleted, its Python would install outside of it.
    is_python .venv/bin/python 12 && .venv/bin/python -c "import pip, sys; sys.exit(sys.prefix == sys.base_prefix)" 2>/dev/null
}
make_anew() {  # renamed first, so that a removal killed midway leaves nothing that looks like an environment
    say "$$*; it is made anew"
    mv .venv .venv.old
    rm -rf .venv.old
}

command -v git >/dev/null || fail "git was not found. DVC needs it: install git and try again."
inside=$$(git rev-parse --show-prefix) || inside=nowhere
[ -z "$$inside" ] || fail "This folder is not the top of a git clone, which DVC needs. Get the project with 'git clone'," \
    "or, in an unpacked archive, begin a repository: git init && git add . && git commit -m start"

folder=$$(pwd -P)
wanted="$$(cat requirements.lock pyproject.toml | git hash-object --stdin) $$folder"
found=$$(cat .venv/installed 2>/dev/null) || found=
if [ "$$found" = "$$wanted" ] && is_environment; then
    say ".venv is complete and up to date"
    exit
fi

rm -rf .venv.old
if [ -e .venv/unfinished ]; then
    make_anew "the last set-up of .venv was interrupted"
elif [ -e .venv ] && ! is_environment; then
    make_anew ".venv is no working environment"
elif [ -n "$$found" ] && [ "$${found#* }" != "$$folder" ]; then
    make_anew ".venv was made for the folder $${found#* }"
fi

if [ -e .venv ]; then
    say ".venv is brought up to requirements.lock"
    : > .venv/unfinished
else
    python=
    if [ -n "$$PYTHON" ]; then
        is_python "$$PYTHON" 12 || fail "PYTHON=$$PYTHON is not a working Python 3.11 or 3.12."
        python=$$PYTHON
    else
        for name in python3.11 python3 python; do
            if is_python $$name 11; then python=$$name; break; fi
        done
    fi
    [ -n "$$python" ] || fail "No Python 3.11 was found (tried: python3.11, python3, python)." \
        "Install it, or name one: make repro PYTHON=/path/to/python3.11"
    "$$python" -c "import ensurepip, venv" 2>/dev/null || fail "$$python lacks the module venv or ensurepip." \
        "On Debian and Ubuntu: apt install python3.11-venv"
    say "a new one in .venv, with $$("$$python" --version) (3 GB to download, 6 GB on disk)"
    mkdir .venv
    : > .venv/unfinished
    "$$python" -m venv .venv
fi

rm -f .venv/installed
# setuptools first: what comes as source is built with the pinned one.
.venv/bin/python -m pip install --quiet --disable-pip-version-check $$(grep -Eo '^(setuptools|uv)==[^ ]+' requirements.lock)
# --refresh-package makes uv look at the environment again. It remembers environments by their path: one remembered from
# a half deleted .venv would be taken for the Python that .venv was made from, and that one would be changed.
install=".venv/bin/python -m uv pip install --python .venv/bin/python --refresh-package vpstudy --no-build-isolation"
$$install --requirement requirements.lock
$$install --no-deps --quiet --editable .
say "first import, which compiles what every notebook needs"
.venv/bin/python -W ignore -c "import distributed, dvc.cli, ipykernel.kernelapp, open_clip, papermill, seaborn, skimage, sklearn, timm, torch, torchmetrics
print('torch', torch.__version__, 'on', torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU')"
echo "$$wanted" > .venv/installed
rm .venv/unfinished
say "ready"
endef
