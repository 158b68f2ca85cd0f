"""Fit an elastic net to the diabetes data that scikit-learn ships, and say how good it is."""

import argparse
import json
from pathlib import Path

import mlflow
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

parser = argparse.ArgumentParser()
parser.add_argument("--alpha", type=float, required=True)
parser.add_argument("--l1-ratio", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
args = parser.parse_args()

data, target = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
x_train, x_test, y_train, y_test = train_test_split(data, target, random_state=args.seed)
model = make_pipeline(StandardScaler(), ElasticNet(alpha=args.alpha, l1_ratio=args.l1_ratio, random_state=args.seed))

# Parameters, and scores on the training data. Logging the model too (log_models=True) takes some seconds more.
mlflow.sklearn.autolog(log_models=False, log_post_training_metrics=False)
with mlflow.start_run():
    predicted = model.fit(x_train, y_train).predict(x_test)
    scores = {
        "rmse": root_mean_squared_error(y_test, predicted),
        "mae": mean_absolute_error(y_test, predicted),
        "r2": r2_score(y_test, predicted),
    }
    mlflow.log_metrics(scores)
print(f"alpha={args.alpha} l1_ratio={args.l1_ratio}  " + "  ".join(f"{k} {v:.3f}" for k, v in scores.items()))

Path("model").mkdir(exist_ok=True)
net = model[-1]
coefficients = pd.Series(net.coef_, index=data.columns, name="coefficient")
coefficients.to_csv("model/coefficients.csv", index_label="feature")
Path("model/intercept.json").write_text(json.dumps({"intercept": float(net.intercept_)}) + "\n")
