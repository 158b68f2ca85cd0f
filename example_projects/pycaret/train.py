"""Compare, tune and evaluate classifiers with PyCaret, which logs every one of them through MLflow."""

import argparse
import json

from pycaret.classification import ClassificationExperiment
from sklearn.datasets import load_breast_cancer

parser = argparse.ArgumentParser()
parser.add_argument("--models", nargs="+", required=True)
parser.add_argument("--folds", type=int, required=True)
parser.add_argument("--tries", type=int, required=True)
args = parser.parse_args()

experiment = ClassificationExperiment()
experiment.setup(
    load_breast_cancer(as_frame=True).frame,
    target="target",
    fold=args.folds,
    session_id=7,
    n_jobs=1,
    html=False,
    verbose=False,
    system_log=False,
    log_experiment=True,
    experiment_name="breast cancer",
)

best = experiment.compare_models(include=args.models, verbose=False)
experiment.pull().drop(columns="TT (Sec)").to_csv("leaderboard.csv")  # times are never the same twice
tuned = experiment.tune_model(best, n_iter=args.tries, verbose=False)

experiment.predict_model(tuned, verbose=False)
scores = experiment.pull().iloc[0]
print(scores.to_string())
with open("scores.json", "w") as file:
    json.dump({"test": {name: value for name, value in scores.items() if name != "Model"}}, file, indent=1)
