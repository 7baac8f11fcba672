"""GluonTS: DeepAR learns a daily rhythm, predicts the next day, and is evaluated."""
import mxnet as mx
import numpy as np
import pandas as pd
from gluonts.dataset.common import ListDataset
from gluonts.evaluation import Evaluator, make_evaluation_predictions
from gluonts.mx import DeepAREstimator, Trainer

mx.random.seed(1)
np.random.seed(1)
series = 10 + 5 * np.sin(np.arange(24 * 20) * 2 * np.pi / 24)
start = pd.Period("2018-01-01", freq="h")
train = ListDataset([{"start": start, "target": series[:-24]}], freq="h")
test = ListDataset([{"start": start, "target": series}], freq="h")
estimator = DeepAREstimator(
    freq="h", prediction_length=24, context_length=24, num_layers=1, num_cells=16,
    trainer=Trainer(epochs=5, num_batches_per_epoch=20, learning_rate=0.01))
predictor = estimator.train(train)
forecasts, targets = make_evaluation_predictions(test, predictor, num_samples=50)
metrics, _ = Evaluator(quantiles=[0.5], num_workers=0)(targets, forecasts)
assert metrics["RMSE"] < np.std(series), metrics
print(f"trains DeepAR; RMSE of the next day {metrics['RMSE']:.2f} (the mean's: "
      f"{np.std(series):.2f})")
