"""GluonNLP: BERT learns to tell two kinds of sentences apart; an LSTM predicts words."""
import gluonnlp as nlp
import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

mx.random.seed(1)
np.random.seed(1)
words = [["the", "cat", "sat", "on", "the", "mat"], ["a", "dog", "ran", "to", "town"]] * 20
vocab = nlp.vocab.BERTVocab(nlp.data.count_tokens(w for sentence in words for w in sentence))
transform = nlp.data.BERTSentenceTransform(
    nlp.data.BERTTokenizer(vocab), max_seq_length=12, pair=False)
data = gluon.data.SimpleDataset(
    [transform((" ".join(sentence),)) + (np.float32(i % 2),) for i, sentence in enumerate(words)])
sampler = nlp.data.FixedBucketSampler([int(row[1]) for row in data], 10, num_buckets=1,
                                      shuffle=True)
batchify = nlp.data.batchify.Tuple(
    nlp.data.batchify.Pad(axis=0, pad_val=vocab[vocab.padding_token], dtype="int32"),
    nlp.data.batchify.Stack("float32"), nlp.data.batchify.Pad(axis=0, pad_val=0, dtype="int32"),
    nlp.data.batchify.Stack("float32"))
loader = gluon.data.DataLoader(data, batch_sampler=sampler, batchify_fn=batchify)
encoder = nlp.model.BERTEncoder(num_layers=2, units=16, hidden_size=32, max_length=12, num_heads=2)
bert = nlp.model.BERTModel(encoder, vocab_size=len(vocab), token_type_vocab_size=2, units=16,
                           embed_size=16, use_decoder=False, use_classifier=False)
net = nlp.model.BERTClassifier(bert, num_classes=2)
net.initialize(mx.init.Normal(0.1))
net.hybridize()
trainer = gluon.Trainer(net.collect_params(), "bertadam", {"learning_rate": 0.003})
accuracy = mx.metric.Accuracy()
for _ in range(15):
    for batch in loader:
        tokens, lengths, types, label = (array.as_in_context(mx.cpu()) for array in batch)
        with autograd.record():
            output = net(tokens, types, lengths)
            loss = gluon.loss.SoftmaxCrossEntropyLoss()(output, label).mean()
        loss.backward()
        nlp.utils.clip_grad_global_norm(list(net.collect_params().values()), 1)
        trainer.step(1)
accuracy.update(label, net(tokens, types, lengths))
assert accuracy.get()[1] == 1

model = nlp.model.StandardRNN("lstm", len(vocab), 16, 16, 1, 0, False)
model.initialize()
trainer = gluon.Trainer(model.collect_params(), "adam", {"learning_rate": 0.05})
stream = nlp.data.batchify.CorpusBPTTBatchify(vocab, 5, 4, last_batch="discard")(
    gluon.data.SimpleDataset([word for sentence in words for word in sentence]))
losses = []
for _ in range(5):
    for X, y in stream:
        with autograd.record():
            output, _ = model(X, model.begin_state(batch_size=4))
            loss = gluon.loss.SoftmaxCrossEntropyLoss(axis=2)(output, y).mean()
        loss.backward()
        trainer.step(1)
        losses.append(loss.asscalar())
assert losses[-1] < losses[0] / 2, losses
print(f"BERT classifies sentences; LSTM (loss {losses[0]:.2f} to {losses[-1]:.2f})")
