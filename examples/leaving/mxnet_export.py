"""Export any network of MXNet's to ONNX, and compare: ``python mxnet_export.py network.onnx``."""

import sys

from mlp_mx.runtime import gluon, mx, nd  # before MXNet; the rest is MXNet's own

import numpy as np
import onnxruntime

net = gluon.nn.HybridSequential()
net.add(gluon.nn.Conv2D(6, kernel_size=5, activation="relu"), gluon.nn.BatchNorm(),
        gluon.nn.MaxPool2D(2, 2), gluon.nn.Dense(10))
net.initialize(mx.init.Xavier())
net.hybridize()
images = nd.random.uniform(shape=(2, 1, 28, 28))
logits = net(images)

net.export("network")  # writes network-symbol.json and network-0000.params
mx.onnx.export_model("network-symbol.json", "network-0000.params", [images.shape], np.float32,
                     sys.argv[1])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
(found,) = session.run(None, {session.get_inputs()[0].name: images.asnumpy()})
print("largest difference:", abs(found - logits.asnumpy()).max())
