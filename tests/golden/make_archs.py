#!/usr/bin/env python3
"""Makes the tiny random models of tests/golden/archs with Hugging Face transformers, and what they answer.

usage: make_archs.py [-o OUTDIR] [CASE...]      (default: every case, into the folder archs beside this script)

Needs torch and transformers (made with torch 2.11.0 and transformers 5.17.0, on a CPU). A case is a folder:
  config.json          as transformers writes it, or as folders of older versions have it (cases marked old)
  model.safetensors    weights in bf16, names as in published checkpoints
  golden.safetensors   input_ids (T) i32; decoders: logits (T, vocab) f32 of one call over all tokens, for BitNet also
                       float_logits, where only the weights are quantized;
                       encoders: hidden (T, width), mean and cls (width), the last two divided by their length
Everything is computed in float32 from the bf16 weights, attention "eager". The script stops at a case whose token at a
time differs from its one call (unless the frequencies depend on the length so far, which nibble fixes by its context),
whose float32 differs from float64, or whose best and second token lie too close together to compare. Weights are drawn
so that every part matters: norms, biases, caps, routers.
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import sys
import traceback

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM

HERE = pathlib.Path(__file__).resolve().parent
VOCAB, T = 96, 24
CASES = {}


def case(name, config, **opts):
    """opts: old (config in the older form), patch (keys set in config.json; None removes), steps_differ, files (text files
    added), rename (what becomes of the tensors, of RENAMES), model ("mlm"), wrap (functions on
    config.json and the tensors, once all is computed), quantize ("bitnet" online, "packed"), tokens (T)."""
    assert name not in CASES, name
    CASES[name] = (config, opts)


def base(model_type, **more):
    c = dict(model_type=model_type, vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
             pad_token_id=None, tie_word_embeddings=False)
    c.update(more)
    return c


def rope(kind="default", theta=10000.0, **more):
    return dict(rope_type=kind, rope_theta=theta, **more)


# ---- llama and what shares its graph ----
def llama(**more):
    return base("llama", **{"rms_norm_eps": 1e-5, **more})


case("llama", llama(num_hidden_layers=3))
case("llama-old", llama(num_key_value_heads=4), old=True)
case("llama-bias", llama(attention_bias=True, mlp_bias=True))
case("llama-tied", llama(tie_word_embeddings=True))
case("llama-head-dim", llama(head_dim=16, num_key_value_heads=1))
LINEAR = rope("linear", factor=4.0)
case("llama-linear", llama(head_dim=16, rope_parameters=LINEAR))
case("llama-linear-old", llama(head_dim=16, rope_parameters=LINEAR), old="type")
DYNAMIC = rope("dynamic", 1000.0, factor=2.0)
case("llama-dynamic-below", llama(head_dim=16, rope_parameters=DYNAMIC))
case("llama-dynamic-above", llama(head_dim=16, rope_parameters=DYNAMIC, max_position_embeddings=16), steps_differ=True)
YARN = rope("yarn", 500.0, factor=4.0, original_max_position_embeddings=32)
case("llama-yarn", llama(head_dim=16, rope_parameters=YARN, max_position_embeddings=128))
case("llama-yarn-attention-factor",
     llama(head_dim=16, rope_parameters=dict(YARN, attention_factor=1.3, truncate=False, beta_fast=4.0, beta_slow=0.5),
           max_position_embeddings=128))
case("llama-yarn-mscale",
     llama(head_dim=16, rope_parameters=dict(YARN, mscale=1.0, mscale_all_dim=0.5), max_position_embeddings=128))
LLAMA3 = rope("llama3", 500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
case("llama-llama3", llama(head_dim=16, rope_parameters=LLAMA3, max_position_embeddings=256))
case("llama-llama3-old", llama(head_dim=16, rope_parameters=LLAMA3, max_position_embeddings=256,
                               tie_word_embeddings=True), old=True)
LONG = [1.0, 1.25, 1.5, 2.0, 3.0, 4.5, 6.0, 8.0]
SHORT = [1.0, 1.0, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5]


def longrope(n, ctx, theta=1000.0, **more):
    return rope("longrope", theta, short_factor=SHORT[:n], long_factor=LONG[:n], original_max_position_embeddings=ctx, **more)


case("llama-longrope-short", llama(head_dim=16, rope_parameters=longrope(8, 32, factor=4.0), max_position_embeddings=128))
case("llama-longrope-long", llama(head_dim=16, rope_parameters=longrope(8, 16, factor=8.0), max_position_embeddings=128),
     steps_differ=True)
case("mistral", base("mistral", sliding_window=None, head_dim=16, rms_norm_eps=1e-5))
case("mistral-window", base("mistral", sliding_window=8, rms_norm_eps=1e-5, num_hidden_layers=3))
case("mistral-window-old", base("mistral", sliding_window=8, rms_norm_eps=1e-5), old=True)

# ---- Qwen ----
case("qwen2", base("qwen2", rope_parameters=rope(theta=1e6), num_hidden_layers=3))
case("qwen2-tied-old", base("qwen2", rope_parameters=rope(theta=1e6), tie_word_embeddings=True), old=True,
     patch=dict(use_sliding_window=False, sliding_window=8, max_window_layers=2))
case("qwen2-window", base("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1, num_hidden_layers=3))
case("qwen2-window-old", base("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1, num_hidden_layers=3),
     old=True)
case("qwen2-yarn-old", base("qwen2", rope_parameters=rope("yarn", 1000.0, factor=4.0, original_max_position_embeddings=64),
                            hidden_size=64, max_position_embeddings=64), old="type")
case("qwen3", base("qwen3", head_dim=16, num_hidden_layers=3))
case("qwen3-tied-old", base("qwen3", head_dim=16, rope_parameters=rope(theta=1e6), tie_word_embeddings=True), old=True)
case("qwen3-bias", base("qwen3", head_dim=8, attention_bias=True))
case("qwen3-window", base("qwen3", head_dim=8, use_sliding_window=True, sliding_window=8, max_window_layers=1))
QWEN2_MOE = dict(moe_intermediate_size=32, shared_expert_intermediate_size=64, num_experts=6, num_experts_per_tok=2)
case("qwen2-moe", base("qwen2_moe", norm_topk_prob=False, decoder_sparse_step=1, **QWEN2_MOE))
case("qwen2-moe-step", base("qwen2_moe", norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[3],
                            num_hidden_layers=4, **QWEN2_MOE))
case("qwen2-moe-old", base("qwen2_moe", norm_topk_prob=False, decoder_sparse_step=1, **QWEN2_MOE), old=True)
QWEN3_MOE = dict(moe_intermediate_size=32, num_experts=8, num_experts_per_tok=3, head_dim=16)
case("qwen3-moe", base("qwen3_moe", norm_topk_prob=True, **QWEN3_MOE))
case("qwen3-moe-plain", base("qwen3_moe", norm_topk_prob=False, attention_bias=True, tie_word_embeddings=True, **QWEN3_MOE))
case("qwen3-moe-step-old", base("qwen3_moe", norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[0],
                                num_hidden_layers=3, **QWEN3_MOE), old=True)
MIXTRAL = dict(num_local_experts=4, num_experts_per_tok=2)
case("mixtral", base("mixtral", **MIXTRAL))
case("mixtral-window-old", base("mixtral", sliding_window=8, **MIXTRAL), old=True)

# ---- Phi ----
case("phi3", base("phi3", original_max_position_embeddings=64, num_hidden_layers=3))
case("phi3-window-old", base("phi3", original_max_position_embeddings=64, sliding_window=8), old=True)
case("phi3-longrope-short", base("phi3", num_attention_heads=2, num_key_value_heads=2, rope_parameters=longrope(8, 32),
                                 max_position_embeddings=128, original_max_position_embeddings=32))
case("phi3-longrope-long-old", base("phi3", num_attention_heads=2, num_key_value_heads=1, rope_parameters=longrope(8, 16),
                                    max_position_embeddings=128, original_max_position_embeddings=16, sliding_window=12),
     old="type", steps_differ=True)
case("phi3-longrope-long", base("phi3", num_attention_heads=2, num_key_value_heads=1, rope_parameters=longrope(8, 16),
                                max_position_embeddings=128, original_max_position_embeddings=16), steps_differ=True)
case("phi3-mini4-long-old", base("phi3", num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
                                 rope_parameters=longrope(6, 16, partial_rotary_factor=0.75), max_position_embeddings=128,
                                 original_max_position_embeddings=16), old="type", steps_differ=True)
case("phi3-mini4-old", base("phi3", num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
                            rope_parameters=longrope(6, 32, partial_rotary_factor=0.75), max_position_embeddings=128,
                            original_max_position_embeddings=32), old="type")
case("phi3-partial", base("phi3", num_attention_heads=2, rope_parameters=rope(partial_rotary_factor=0.5),
                          original_max_position_embeddings=64))
case("phi", base("phi", rope_parameters=rope(partial_rotary_factor=0.5), num_key_value_heads=4))
case("phi-qk-norm-old", base("phi", rope_parameters=rope(partial_rotary_factor=0.5), qk_layernorm=True), old=True)

# ---- Gemma ----
case("gemma", base("gemma", head_dim=16, num_key_value_heads=1, tie_word_embeddings=True))
GEMMA2 = dict(head_dim=16, tie_word_embeddings=True, sliding_window=8, query_pre_attn_scalar=24, attn_logit_softcapping=3.0,
              final_logit_softcapping=6.0)
case("gemma2", base("gemma2", num_hidden_layers=3, hidden_size=48, **GEMMA2))
case("gemma2-old", base("gemma2", **GEMMA2), old=True)
case("gemma2-uncapped", base("gemma2", **dict(GEMMA2, attn_logit_softcapping=None, final_logit_softcapping=None)))
case("gemma2-scale", base("gemma2", **dict(GEMMA2, query_pre_attn_scalar=16)))
GEMMA3 = dict(num_attention_heads=2, num_key_value_heads=1, head_dim=16, tie_word_embeddings=True, sliding_window=8,
              query_pre_attn_scalar=24, intermediate_size=32)
case("gemma3", base("gemma3_text", num_hidden_layers=7, **GEMMA3))
case("gemma3-old", base("gemma3_text", num_hidden_layers=7, **GEMMA3), old=True)
GEMMA3_LINEAR = {"full_attention": rope("linear", 1e4, factor=8.0), "sliding_attention": rope("default", 1e3)}
case("gemma3-linear", base("gemma3_text", num_hidden_layers=6, rope_parameters=GEMMA3_LINEAR, **GEMMA3))
case("gemma3-linear-old", base("gemma3_text", num_hidden_layers=6, rope_parameters=GEMMA3_LINEAR, **GEMMA3), old=True)
GEMMA3_SCALE = dict(GEMMA3, query_pre_attn_scalar=16)
case("gemma3-scale", base("gemma3_text", num_hidden_layers=6, rope_parameters=GEMMA3_LINEAR, **GEMMA3_SCALE))


def as_vision_tensors(tensors):
    """As google/gemma-3-4b-it has them: the decoder under a root of its own, beside other parts."""
    out = {"language_model." + k: v for k, v in tensors.items()}
    out["multi_modal_projector.mm_soft_emb_norm.weight"] = torch.zeros(16, dtype=torch.bfloat16)
    out["vision_tower.vision_model.post_layernorm.weight"] = torch.zeros(16, dtype=torch.bfloat16)
    return out


def as_vision_config(config):
    text = {k: v for k, v in config.items() if k not in ("architectures", "torch_dtype", "transformers_version")}
    return dict(architectures=["Gemma3ForConditionalGeneration"], model_type="gemma3", text_config=text,
                vision_config=dict(model_type="siglip_vision_model", hidden_size=16), mm_tokens_per_image=256,
                torch_dtype="bfloat16", transformers_version="4.50.0")


case("gemma3-vision-old", base("gemma3_text", num_hidden_layers=6, **GEMMA3_SCALE), old=True,
     wrap=(as_vision_config, as_vision_tensors))
case("gemma3-layers", base("gemma3_text", num_hidden_layers=3, hidden_size=48, final_logit_softcapping=6.0,
                           layer_types=["sliding_attention", "full_attention", "sliding_attention"], **GEMMA3))

# ---- GPT-2, GPT-NeoX ----
def gpt2(**more):
    return dict(dict(model_type="gpt2", vocab_size=VOCAB, n_embd=32, n_head=4, n_layer=2, n_positions=32, n_inner=None,
                     bos_token_id=1, eos_token_id=2), **more)


def as_first_gpt2(tensors):
    """As openai-community/gpt2 has it: no prefix, the causal mask among the weights, no head."""
    out = {k.removeprefix("transformer."): v for k, v in tensors.items() if not k.startswith("lm_head.")}
    for i in range(2):
        out[f"h.{i}.attn.bias"] = torch.tril(torch.ones(32, 32)).view(1, 1, 32, 32)
    return out


case("gpt2", gpt2(n_inner=64, n_layer=3))
case("gpt2-first", gpt2(), old=True, rename="first gpt2")
case("gpt2-untied", gpt2(n_inner=64, tie_word_embeddings=False, activation_function="gelu"))


def neox(**more):
    c = base("gpt_neox", **dict(dict(hidden_size=64, hidden_act="gelu"), **more))
    del c["num_key_value_heads"]
    return c


NEOX = rope(partial_rotary_factor=0.25)
case("gpt-neox", neox(hidden_size=32, num_attention_heads=2, num_hidden_layers=3, rope_parameters=NEOX))
case("gpt-neox-old", neox(rope_parameters=NEOX), old="neox")
case("gpt-neox-serial", neox(hidden_size=32, num_attention_heads=2, rope_parameters=rope(partial_rotary_factor=1.0),
                             use_parallel_residual=False, hidden_act="gelu_new"))
case("gpt-neox-no-bias", neox(hidden_size=32, num_attention_heads=2, rope_parameters=NEOX, attention_bias=False,
                              tie_word_embeddings=True))

# ---- others ----
case("olmo2", base("olmo2", num_hidden_layers=3, rope_parameters=rope(theta=5e5)))
case("olmo2-old", base("olmo2", num_key_value_heads=4, rope_parameters=rope(theta=5e5)), old=True)
case("olmo", base("olmo"))
case("olmo-clip-old", base("olmo", clip_qkv=0.7, num_key_value_heads=4, tie_word_embeddings=True), old=True)
GRANITE = dict(embedding_multiplier=3.0, logits_scaling=2.0, residual_multiplier=0.6, attention_multiplier=0.2)
case("granite", base("granite", num_hidden_layers=3, tie_word_embeddings=True, **GRANITE))
case("granite-bias-old", base("granite", attention_bias=True, mlp_bias=True, **GRANITE), old=True)
case("granite-moe", base("granitemoe", num_local_experts=4, num_experts_per_tok=2, intermediate_size=32,
                         tie_word_embeddings=True, **GRANITE))
case("stablelm", base("stablelm", rope_parameters=rope(partial_rotary_factor=0.25)))
case("stablelm-parallel-old", base("stablelm", hidden_size=64, num_attention_heads=4, qk_layernorm=True, use_qkv_bias=True,
                                   use_parallel_residual=True, rope_parameters=rope(partial_rotary_factor=0.25)), old=True)
case("starcoder2", base("starcoder2", sliding_window=8, tie_word_embeddings=True, num_hidden_layers=3))
case("starcoder2-no-bias-old", base("starcoder2", use_bias=False), old=True)
case("smollm3", base("smollm3", num_hidden_layers=5, tie_word_embeddings=True, intermediate_size=32, no_rope_layer_interval=4))
case("smollm3-layers-old", base("smollm3", num_hidden_layers=3, no_rope_layers=[1, 0, 1], rope_parameters=rope(theta=5e4)),
     old=True)
case("cohere2", base("cohere2", num_hidden_layers=4, sliding_window=8, logit_scale=0.25, intermediate_size=32,
                     tie_word_embeddings=True))
case("bitnet", base("bitnet", tie_word_embeddings=True, rope_parameters=rope(theta=5e5)), rename="ternary")
case("bitnet-bf16", base("bitnet", tie_word_embeddings=True, rope_parameters=rope(theta=5e5)), quantize="online")
case("bitnet-packed-old", base("bitnet", tie_word_embeddings=True, rope_parameters=rope(theta=5e5)), quantize="packed", old=True)

# ---- encoders ----
def bert(model_type="bert", **more):
    return dict(dict(model_type=model_type, vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=4, max_position_embeddings=40, type_vocab_size=2, pad_token_id=0,
                     layer_norm_eps=1e-12), **more)


def pooling(mode):
    text = json.dumps(dict(word_embedding_dimension=32, pooling_mode_cls_token=mode == "cls",
                           pooling_mode_mean_tokens=mode == "mean", pooling_mode_max_tokens=False,
                           pooling_mode_mean_sqrt_len_tokens=False), indent=2) + "\n"
    modules = json.dumps([dict(idx=i, name=str(i), path=p, type=f"sentence_transformers.models.{k}")
                          for i, (p, k) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"),
                                                      ("2_Normalize", "Normalize")])], indent=2) + "\n"
    return {"1_Pooling/config.json": text, "modules.json": modules}


case("bert-mean-old", bert(num_hidden_layers=3), old=True, files=pooling("mean"))
case("bert-cls", bert(num_attention_heads=2), files=pooling("cls"))
case("bert-masked", bert(hidden_act="gelu_new", layer_norm_eps=1e-5), model="mlm")
case("roberta", bert("roberta", type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5))
case("xlm-roberta", bert("xlm-roberta", type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5), files=pooling("cls"))
case("distilbert", dict(model_type="distilbert", vocab_size=VOCAB, max_position_embeddings=40, n_layers=2, n_heads=4, dim=32,
                        hidden_dim=64, pad_token_id=0))


# ---- weights ----
def draw(model, gen):
    """Random weights for every parameter, by what its module is."""
    def normal(p, std, mean=0.0):
        p.data.copy_(torch.randn(p.shape, generator=gen) * std + mean)

    for name, module in model.named_modules():
        kind = type(module).__name__
        for pname, p in module.named_parameters(recurse=False):
            full = f"{name}.{pname}"
            if "Norm" in kind or "norm" in name.split(".")[-1]:
                mean = 0.0 if pname == "bias" or re.match(r"Gemma\d?RMSNorm|GemmaRMSNorm", kind) else 1.0
                normal(p, 0.3, mean)
            elif pname == "bias" or p.ndim == 1:
                normal(p, 0.3)
            elif kind.endswith("Embedding"):
                normal(p, 0.6)
            else:
                fan_in = p.shape[0] if kind == "Conv1D" else p.shape[-1]
                gain = 1.0
                if re.search(r"lm_head|embed_out|router|gate\.weight$", full) and "gate_proj" not in full:
                    gain = 3.0
                elif re.search(r"q_proj|k_proj|query|key|qkv|c_attn|q_lin|k_lin", full):
                    gain = 1.6
                normal(p, gain / fan_in ** 0.5)


def older(config, how):
    """config.json as versions before 5 wrote it."""
    c = dict(config)
    params = c.pop("rope_parameters", None)
    if "dtype" in c:
        c["torch_dtype"] = c.pop("dtype")
    c["transformers_version"] = "4.46.0"
    if "layer_types" in c:
        del c["layer_types"]
    if "no_rope_layers" in c:
        c.pop("no_rope_layer_interval", None)
    if not params:
        return c
    if "full_attention" in params:
        c["rope_local_base_freq"] = params["sliding_attention"]["rope_theta"]
        c["sliding_window_pattern"] = 6
        params = params["full_attention"]
    params = dict(params)
    theta, partial = params.pop("rope_theta"), params.pop("partial_rotary_factor", None)
    c["rotary_emb_base" if how == "neox" else "rope_theta"] = theta
    if partial is not None and (partial != 1.0 or c["model_type"] in ("phi", "stablelm", "gpt_neox")):
        c["rotary_pct" if how == "neox" else "partial_rotary_factor"] = partial
    if params["rope_type"] == "default":
        c["rope_scaling"] = None
    else:
        if how == "type":
            params["type"] = params.pop("rope_type")
        if c["model_type"] == "phi3":
            params.pop("original_max_position_embeddings", None)
        c["rope_scaling"] = params
    return c


def ternary(w):
    """BitNet b1.58: the scale is the mean of magnitudes, codes -1, 0, 1."""
    scale = 1.0 / w.float().abs().mean().clamp(min=1e-5)
    return (w.float() * scale).round().clamp(-1, 1), scale


def ternary_only(tensors):
    """The values that count, as plain floats."""
    out = dict(tensors)
    for name, w in tensors.items():
        if re.search(r"_proj\.weight$", name):
            codes, scale = ternary(w)
            out[name] = (codes * (1.0 / scale).to(torch.bfloat16)).to(torch.bfloat16)
    return out


def packed(tensors):
    """As microsoft/bitnet-b1.58-2B-4T has it: four rows in a byte, the scale beside it (autobitlinear multiplies by it)."""
    out = {}
    for name, w in tensors.items():
        if not re.search(r"_proj\.weight$", name):
            out[name] = w
            continue
        codes, scale = ternary(w)
        quarter = (codes + 1).to(torch.uint8).view(4, -1, w.shape[1])
        out[name] = quarter[0] | quarter[1] << 2 | quarter[2] << 4 | quarter[3] << 6
        out[name + "_scale"] = (1.0 / scale).reshape(1).to(torch.bfloat16)
    return out


RENAMES = {"first gpt2": as_first_gpt2, "ternary": ternary_only}


# ---- a case ----
def klass(opts, config):
    if opts.get("model") == "mlm":
        return AutoModelForMaskedLM
    return AutoModel if config["model_type"] in ("bert", "roberta", "xlm-roberta", "distilbert") else AutoModelForCausalLM


def load(folder, auto, dtype=torch.float32):
    model = auto.from_pretrained(folder, dtype=dtype, attn_implementation="eager", local_files_only=True)
    if re.search("moe|mixtral", model.config.model_type):
        model.set_experts_implementation("eager")
    return model.eval()


@torch.no_grad()
def without_activation_codes(model, tokens):
    """Logits of a BitNet model whose weights alone are quantized."""
    from transformers.integrations import bitnet
    whole = bitnet.ActQuant

    class Identity:
        apply = staticmethod(lambda x: x)

    bitnet.ActQuant = Identity
    try:
        return model(input_ids=tokens).logits[0].float()
    finally:
        bitnet.ActQuant = whole


def write(folder, config, opts, gen):
    auto = klass(opts, config)
    c = AutoConfig.for_model(**config)
    model = auto.from_config(c, attn_implementation="eager", dtype=torch.float32)
    draw(model, gen)
    model.tie_weights()
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    path = folder / "model.safetensors"
    tensors = load_file(path)
    before = json.loads((folder / "config.json").read_text())
    after = older(before, opts["old"]) if opts.get("old") else before
    after.update(opts.get("patch", {}))
    if "quantize" in opts:
        mode = "online" if opts["quantize"] == "online" else "offline"
        after["quantization_config"] = dict(quant_method="bitnet", linear_class="autobitlinear", quantization_mode=mode,
                                            modules_to_not_convert=None)
        if mode == "offline":
            tensors = packed(tensors)
    want = answer(load(folder, auto), folder, opts, None) if opts.get("old") and "quantize" not in opts else None
    if opts.get("rename"):
        tensors = RENAMES[opts["rename"]](tensors)
    save_file(tensors, path, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(after, indent=2) + "\n")
    for name, text in opts.get("files", {}).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return auto, want


def draw_tokens(seed, n=T):
    gen = torch.Generator().manual_seed(seed)
    return torch.randint(3, VOCAB, (1, n), generator=gen)


@torch.no_grad()
def answer(model, folder, opts, tokens):
    """Of one call: logits (T, vocab), or hidden states (T, width)."""
    tokens = draw_tokens(0) if tokens is None else tokens
    if opts.get("model") == "mlm":
        model = model.base_model
    out = model(input_ids=tokens)
    return (out.logits if hasattr(out, "logits") else out.last_hidden_state)[0].float()


@torch.no_grad()
def stepped(model, tokens):
    cache, rows = None, []
    for i in range(tokens.shape[1]):
        out = model(input_ids=tokens[:, i:i + 1], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        rows.append(out.logits[0, 0].float())
    return torch.stack(rows)


def margin(logits):
    top = logits.topk(2, dim=-1).values
    return ((top[:, 0] - top[:, 1]).min() / (logits.max() - logits.min())).item()


def make(name, out):
    config, opts = CASES[name]
    folder = out / name
    seed = sum(ord(c) * (i + 1) for i, c in enumerate(name))
    auto, want = write(folder, config, opts, torch.Generator().manual_seed(seed))
    model = load(folder, auto)
    if want is not None:
        diff = (answer(model, folder, opts, None) - want).abs().max().item()
        if diff > 1e-6:
            raise RuntimeError(f"the older config.json gives other logits: {diff}")
    encoder = auto is not AutoModelForCausalLM
    for attempt in range(50):
        tokens = draw_tokens(seed + attempt)
        logits = answer(model, folder, opts, tokens)
        if encoder or margin(logits) > 4e-3:
            break
    else:
        raise RuntimeError(f"no clear winner among the tokens: {margin(logits)}")
    spread = (logits.max() - logits.min()).item()
    result = {"input_ids": tokens[0].to(torch.int32)}
    notes = [f"spread {spread:.2f}", f"std {logits.std().item():.2f}"]
    if encoder:
        mean, cls = logits.mean(0), logits[0]
        result |= {"hidden": logits, "mean": mean / mean.norm(), "cls": cls / cls.norm()}
    else:
        result["logits"] = logits
        steps = stepped(load(folder, auto), tokens)
        diff = (steps - logits).abs().max().item() / spread
        notes += [f"margin {margin(logits):.1e}", f"steps {diff:.1e}"]
        if "quantize" in opts:
            result["float_logits"] = without_activation_codes(load(folder, auto), tokens)
            change = (result["float_logits"] - logits).abs().max().item() / spread
            notes.append(f"float activations {change:.1e}")
        if opts.get("steps_differ"):
            if diff < 1e-4:
                raise RuntimeError("a token at a time gives the same, expected another answer")
        elif diff > 1e-5:
            raise RuntimeError(f"a token at a time differs by {diff} of the spread")
    if "quantize" not in opts:
        exact = answer(load(folder, auto, torch.float64), folder, opts, tokens)
        diff = (exact - logits).abs().max().item() / spread
        notes.append(f"f64 {diff:.1e}")
        if diff > 1e-4:
            raise RuntimeError(f"float64 differs by {diff} of the spread")
    if opts.get("wrap"):
        on_config, on_tensors = opts["wrap"]
        path = folder / "config.json"
        path.write_text(json.dumps(on_config(json.loads(path.read_text())), indent=2) + "\n")
        path = folder / "model.safetensors"
        save_file(on_tensors(load_file(path)), path, metadata={"format": "pt"})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    save_file({k: v.contiguous() for k, v in result.items()}, folder / "golden.safetensors", metadata=versions)
    size = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    if size > 300_000:
        raise RuntimeError(f"{size} bytes, expected at most 300000")
    print(f"{name}: {size} bytes, " + ", ".join(notes), flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("-o", dest="out", type=pathlib.Path, default=HERE / "archs")
    ap.add_argument("-k", dest="keep_going", action="store_true", help="go on after a case that fails")
    ap.add_argument("cases", nargs="*", metavar="CASE")
    args = ap.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(4)
    print("transformers", transformers.__version__, "torch", torch.__version__)
    failed = []
    for name in args.cases or CASES:
        try:
            make(name, args.out)
        except Exception:
            if not args.keep_going:
                raise
            failed.append(name)
            print(f"{name}: FAILED\n{traceback.format_exc()}", flush=True)
            shutil.rmtree(args.out / name, ignore_errors=True)
    print(f"{len(args.cases or CASES) - len(failed)} made, {len(failed)} failed {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
