#!/usr/bin/env bash
# Repeat the measurements of docs/evidence/performance.md on a CPU: an hour or more on two cores.
#   bash benchmarks/performance.sh DIRECTORY [PART...]    in the environment of tools/setup_env.sh
# PARTs are inference_steps, training_steps, memory, resnet50, mobilenet_v2 (default: all).
# ROUNDS sets the measurements of each network (default: 11). PyTorch is measured where
# TORCH_PYTHON (default: the same Python) has it.
set -euo pipefail
output=$(realpath -m "${1:?give a directory for the results}")
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PWD/.venv/bin:$PATH"
torch_python=${TORCH_PYTHON:-python}

benchmark() { # DIRECTORY WORDS...
  python benchmarks/run.py "${@:2}" --rounds "${ROUNDS:-11}" --output "$output/$1"
}

# Against other forms of the layer.
forms() { # DIRECTORY MODEL MODE BATCH FORM...
  local forms=("${@:5}")
  benchmark "$1" "$2:none" "$2" "${forms[@]/#/$2:}" --modes "$3" --batch-sizes "$4"
}

inference_steps() {
  local forms=(mean flat_mean product pool pool_conv2d early)
  forms inference_steps_1 ECA_ResNet50 paddle_inference 1 "${forms[@]}"
  forms inference_steps_8 ECA_ResNet50 paddle_inference 8 "${forms[@]}"
}

training_steps() {
  local forms=(mean flat_mean pool product products)
  forms training_steps_mobilenet_v2 ECA_MobileNetV2 train 8 "${forms[@]}"
  forms training_steps_resnet50 ECA_ResNet50 train 8 "${forms[@]}"
}

# Against processes whose freed memory goes back to the system. Any setting of the allocator
# overrides ours; this one is glibc's default.
memory() {
  local returned="env GLIBC_TUNABLES=glibc.malloc.perturb=0 python benchmarks/paddle_worker.py"
  local model
  for model in ECA_MobileNetV2 ECA_ResNet50; do
    benchmark "memory_$model" "$model:none" "$model" --modes train --batch-sizes 8 \
      --worker "$model:none, memory returned=$returned $model:none" \
      --worker "$model, memory returned=$returned $model"
  done
}

# Against the model without attention, with SE, and in PaddleClas and PyTorch.
compare() { # MODEL NETWORK...
  local model=$1 torch=() networks=("$1:none" "$1" "$1:SE" "$1:reproduction" "${@:2}")
  if "$torch_python" -c 'import torch' 2>/dev/null; then
    torch=(--worker "PyTorch $model=$torch_python benchmarks/torch_worker.py $model"
      --worker "PyTorch $model:none=$torch_python benchmarks/torch_worker.py $model none")
  fi
  benchmark "${model}_train" "${networks[@]}" "${torch[@]}" --modes train --batch-sizes 1 8
  benchmark "${model}_eval" "${networks[@]}" "${torch[@]}" --modes eval --batch-sizes 1 8
  benchmark "${model}_inference" "${networks[@]}" --modes paddle_inference --batch-sizes 1 8 32
  benchmark "${model}_onnx" "${networks[@]}" --modes onnxruntime --batch-sizes 1 8
  benchmark "${model}_static" "${networks[@]}" --modes train_static --batch-sizes 8
}

resnet50() { compare ECA_ResNet50 ResNet50 SE_ResNet50_vd; }
mobilenet_v2() { compare ECA_MobileNetV2 MobileNetV2; }

all=(inference_steps training_steps memory mobilenet_v2 resnet50)
[ $# -gt 0 ] || set -- "${all[@]}"
for part in "$@"; do
  [[ " ${all[*]} " == *" $part "* ]] || { echo "error: no part $part: ${all[*]}" >&2; exit 1; }
done
for part in "$@"; do "$part"; done
