"""Encoders with random weights as ONNX files, exported by torch: MiniLM (BERT), ViT-tiny and Whisper-tiny's encoder, each
with an input and what torch makes of it.

    python make_encoders.py FOLDER

Wants torch, transformers, onnx and numpy. Writes NAME.onnx, NAME.<input>.npy and NAME.want.npy; the weights are rounded
to bfloat16, so that the files pack well. tests/interop/test_encoders_peer.py runs them (NIBBLE_ENCODERS=FOLDER).
"""

import os
import sys

import numpy as np
import torch
import transformers as tf


def rounded(model):
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(torch.bfloat16).to(torch.float32))
    return model.eval()


class Output(torch.nn.Module):
    """The last hidden state alone."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, *inputs):
        return self.model(*inputs)[0]


def export(folder, name, model, inputs, names):
    torch.manual_seed(1)
    model = Output(rounded(model)).eval()
    path = os.path.join(folder, name + ".onnx")
    with torch.no_grad():
        want = model(*inputs)
    dynamic = {n: {0: "batch"} for n in names}
    torch.onnx.export(model, inputs, path, input_names=names, output_names=["hidden"], opset_version=17,
                      dynamic_axes=dynamic, do_constant_folding=True, dynamo=False)
    for n, x in zip(names, inputs):
        np.save(os.path.join(folder, f"{name}.{n}.npy"), x.numpy())
    np.save(os.path.join(folder, name + ".want.npy"), want.numpy())
    print(name, os.path.getsize(path), tuple(want.shape))


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(0)
    bert = tf.BertModel(tf.BertConfig(vocab_size=2000, hidden_size=384, num_hidden_layers=6, num_attention_heads=12,
                                      intermediate_size=1536, attn_implementation="eager"), add_pooling_layer=False)
    ids = torch.randint(0, 2000, (2, 64))
    mask = torch.ones(2, 64, dtype=torch.int64)
    mask[1, 40:] = 0
    export(folder, "minilm", bert, (ids, mask), ["input_ids", "attention_mask"])
    vit = tf.ViTModel(tf.ViTConfig(hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768,
                                   attn_implementation="eager"), add_pooling_layer=False)
    export(folder, "vit_tiny", vit, (torch.randn(1, 3, 224, 224),), ["pixels"])
    config = tf.WhisperConfig(d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536,
                              attn_implementation="eager")
    whisper = tf.models.whisper.modeling_whisper.WhisperEncoder(config)
    export(folder, "whisper_tiny", whisper, (torch.randn(1, 80, 3000),), ["features"])


if __name__ == "__main__":
    main()
