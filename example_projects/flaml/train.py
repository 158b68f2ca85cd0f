"""Let FLAML search for a regression model; it logs every one that it tries through MLflow, each as a nested run."""

import argparse
import json

import mlflow
from flaml import AutoML
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.model_selection import train_test_split

parser = argparse.ArgumentParser()
parser.add_argument("--estimators", nargs="+", required=True)
parser.add_argument("--tries", type=int, required=True)
args = parser.parse_args()

data, target = load_diabetes(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(data, target, random_state=7)

automl = AutoML()
with mlflow.start_run():
    automl.fit(
        x_train,
        y_train,
        task="regression",
        metric="rmse",
        estimator_list=args.estimators,
        max_iter=args.tries,
        time_budget=-1,  # so many tries, not so many seconds: the same models each time
        seed=7,
        n_jobs=1,
        verbose=0,
        mlflow_logging=True,
    )

predicted = automl.predict(x_test)
scores = {
    "rmse": root_mean_squared_error(y_test, predicted),
    "mae": mean_absolute_error(y_test, predicted),
    "r2": r2_score(y_test, predicted),
}
print(automl.best_estimator, *(f"{name} {value:.3f}" for name, value in scores.items()))
with open("scores.json", "w") as file:
    json.dump({"test": scores, "best": {"loss": automl.best_loss, **automl.best_config}}, file, indent=1)
