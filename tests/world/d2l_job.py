"""d2l, after ``set_np``: its training loops, BERT, and boxes from anchors."""
import io
import sys

from d2l import mxnet as d2l
from mxnet import autograd, gluon, init, np, npx
from mxnet.gluon import nn

npx.set_np()
npx.random.seed(1)
sys.stdout = io.StringIO()  # d2l prints the figures that a notebook would show
patterns = np.random.normal(size=(10, 1, 28, 28))
y = np.arange(2000) % 10
X = patterns[y] + np.random.normal(0, 1, (2000, 1, 28, 28))
train_iter = d2l.load_array((X[:1600], y[:1600]), 64)
test_iter = d2l.load_array((X[1600:], y[1600:]), 64, is_train=False)
loss = gluon.loss.SoftmaxCrossEntropyLoss()
W, b = np.random.normal(0, 0.01, (784, 10)), np.zeros(10)
W.attach_grad()
b.attach_grad()
d2l.train_ch3(lambda X: np.dot(X.reshape((-1, 784)), W) + b, train_iter, test_iter, loss, 2,
              lambda batch_size: d2l.sgd([W, b], 0.1, batch_size))
net = nn.Sequential()
net.add(nn.Conv2D(6, kernel_size=5, activation="relu"), nn.BatchNorm(), nn.Dense(10))
d2l.train_ch6(net, train_iter, test_iter, 2, 0.1, d2l.try_gpu())
accuracy = d2l.evaluate_accuracy_gpu(net, test_iter)

bert = d2l.BERTModel(100, 16, 32, 2, 2, 0.1)
bert.initialize(init.Xavier())
tokens = np.random.randint(0, 100, (4, 12))
trainer = gluon.Trainer(bert.collect_params(), "adam", {"learning_rate": 0.01})
losses = []
for _ in range(10):
    with autograd.record():
        _, masked, following = bert(tokens, np.zeros_like(tokens), np.array([12, 10, 8, 12]),
                                    np.array([[1, 5]] * 4))
        value = (loss(masked.reshape((-1, 100)), tokens[:, [1, 5]].reshape(-1)).mean()
                 + loss(following, np.array([0, 1, 0, 1])).mean())
    value.backward()
    trainer.step(1)
    losses.append(float(value))

anchors = d2l.multibox_prior(np.zeros((1, 3, 8, 8)), sizes=[0.75, 0.5], ratios=[1, 2])
truth = np.array([[[0, 0.1, 0.08, 0.52, 0.92], [1, 0.55, 0.2, 0.9, 0.88]]])
offsets, mask, classes = d2l.multibox_target(anchors, truth)
probabilities = npx.one_hot(classes, 3).transpose(0, 2, 1)
found = d2l.multibox_detection(probabilities, offsets, anchors)
found = found[0][found[0, :, 0] >= 0]
errors = [float(np.abs(found[found[:, 0] == box[0]][:, 2:] - box[1:]).max()) for box in truth[0]]

sys.stdout = sys.__stdout__
assert accuracy > 0.9 and losses[-1] < losses[0] - 2 and max(errors) < 1e-3, (accuracy, losses)
print(f"set_np; train_ch3, train_ch6 (accuracy {accuracy:.2f}); BERT (loss {losses[0]:.2f} to "
      f"{losses[-1]:.2f}); boxes from anchors")
