"""GluonCV: a residual network learns to tell two patterns apart; detections get their precision."""
import mxnet as mx
import numpy as np
from gluoncv.data.transforms import bbox
from gluoncv.model_zoo import get_model
from gluoncv.utils.metrics.voc_detection import VOC07MApMetric
from mxnet import autograd, gluon, nd

mx.random.seed(1)
label = nd.arange(16) % 2
data = nd.random.normal(0, 0.1, (16, 3, 32, 32)) + label.reshape((16, 1, 1, 1))
net = get_model("cifar_resnet20_v1", classes=2)
net.initialize(mx.init.Xavier())
trainer = gluon.Trainer(net.collect_params(), "adam", {"learning_rate": 0.01})
losses = []
for _ in range(8):
    with autograd.record():
        loss = gluon.loss.SoftmaxCrossEntropyLoss()(net(data), label)
    loss.backward()
    trainer.step(16)
    losses.append(loss.mean().asscalar())
assert losses[-1] < losses[0] / 2, losses

boxes = np.array([[0, 0, 10, 10, 0], [20, 20, 40, 40, 1]], dtype=np.float)
flipped = bbox.flip(boxes, (50, 50), flip_x=True)
assert flipped[0, :4].tolist() == [40, 0, 50, 10]
metric = VOC07MApMetric(class_names=["a", "b"])
places, classes = [nd.array(boxes[None, :, :4])], [nd.array([[[0], [1]]])]
metric.update(places, classes, [nd.array([[[0.9], [0.8]]])], places, classes)
assert np.isclose(metric.get()[1][-1], 1)

ssd = get_model("ssd_512_mobilenet1.0_custom", classes=["a", "b"], pretrained_base=False)
ssd.initialize()
ids, scores, found = ssd(nd.random.uniform(shape=(1, 3, 128, 128)))
assert found.shape[2] == 4 and np.isfinite(scores.asnumpy()).all()
print(f"trains cifar_resnet20_v1 (loss {losses[0]:.2f} to {losses[-1]:.2f}); mean average "
      "precision; SSD detects")
