#!/usr/bin/env bash
# From nothing to a trained and exported ECA_ResNet18 on real images: sets up .venv, then
# prepares the digits, trains on two CPU processes, evaluates, predicts and exports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup_env.sh
# The PaddleClas to use is the one that was just installed, not another of the user's.
unset PADDLECLAS_ROOT PYTHONPATH
python=.venv/bin/python
config=ppcls_configs/digits/ECA_ResNet18.yaml
run=output/digits/ECA_ResNet18
trained=Global.pretrained_model=$run/best_model

.venv/bin/paddleclas-eca prepare digits --output dataset/digits
$python -m paddle.distributed.launch --nproc_per_node 2 tools/train.py -c $config
$python tools/eval.py -c $config -o $trained | tee "$run/eval.txt"
$python tools/infer.py -c $config -o $trained
$python tools/export_model.py -c $config -o $trained

top1=$(sed -n 's/.*\[Eval\].*\[Avg\].*top1: \([0-9.]*\).*/\1/p' "$run/eval.txt" | tail -n 1)
echo "checkpoints and logs: $PWD/$run"
echo "exported model: $PWD/inference/digits"
printf 'top1: %.3f\n' "${top1:?the evaluation printed no top1}"
awk -v top1="$top1" 'BEGIN { exit !(top1 >= 0.95) }' || {
  echo "error: expected a top1 of at least 0.95" >&2
  exit 1
}
