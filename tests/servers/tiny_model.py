"""
Write a language model of half a megabyte, with random weights, for llama.cpp's server.

A real partner for the protocol: real tokens, real grammars, real errors; no meaning. Run as
``python tiny_model.py FILE``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

WIDTH, BLOCKS, HEADS, INNER, CONTEXT = 64, 2, 4, 128, 2048
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BEGIN, END, END_OF_TURN = 1, 2, 4


def vocabulary(kinds: Any) -> list[tuple[str, Any]]:
    """Answer the tokens and their kinds: markers, all bytes, printable ASCII, a few words."""
    words = ("\u2581the", "\u2581a", "\u2581is", "\u2581hello", "th", "he", "in", "er", "an")
    return [
        ("<unk>", kinds.UNKNOWN),
        *((mark, kinds.CONTROL) for mark in ("<s>", "</s>", "<|im_start|>", "<|im_end|>")),
        *((f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)),
        *((letter, kinds.NORMAL) for letter in ("\u2581", *map(chr, range(33, 127)))),
        *((word, kinds.NORMAL) for word in words),
    ]


def write(path: Path, seed: int = 0) -> None:
    """Write the model to *path*."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    kinds: Any = gguf.TokenType
    tokens = vocabulary(kinds)

    def weights(*shape: int, silent: bool = False) -> Any:
        drawn = (random.standard_normal(shape) * 0.08).astype(np.float32)
        if silent:
            drawn[0] = 0  # never writes to the first channel, which stays a constant …
        return drawn

    embedding, output = weights(len(tokens), WIDTH), weights(len(tokens), WIDTH)
    embedding[:, 0] = 1.0  # … so that its column in the output is a bias for each token:
    for index, (text, kind) in enumerate(tokens):
        beyond_ascii = kind == kinds.BYTE and int(text[3:5], 16) > 126
        if beyond_ascii or kind in (kinds.CONTROL, kinds.UNKNOWN):
            output[index, 0] = -9  # single bytes would make broken UTF-8
        else:
            output[index, 0] = -2 if kind == kinds.BYTE else 0
    output[END, 0] = output[END_OF_TURN, 0] = 0.3  # stop now and then

    file: Any = gguf.GGUFWriter(str(path), "llama")
    file.add_name("tiny-random")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_block_count(BLOCKS)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_vocab_size(len(tokens))
    file.add_file_type(gguf.LlamaFileType.ALL_F32)
    file.add_tokenizer_model("llama")
    file.add_token_list([text for text, _ in tokens])
    file.add_token_types([kind for _, kind in tokens])
    scores = [float(-i) if kind == kinds.NORMAL else 0.0 for i, (_, kind) in enumerate(tokens)]
    file.add_token_scores(scores)
    file.add_bos_token_id(BEGIN)
    file.add_eos_token_id(END)
    file.add_eot_token_id(END_OF_TURN)
    file.add_unk_token_id(0)
    file.add_add_bos_token(True)
    # With a space prefix the grammar of response_format does not match the generation prompt.
    file.add_add_space_prefix(False)
    file.add_chat_template(TEMPLATE)
    _add_tensors(file, weights, np.ones(WIDTH, np.float32), embedding, output)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _add_tensors(file: Any, weights: Any, ones: Any, embedding: Any, output: Any) -> None:
    file.add_tensor("token_embd.weight", embedding)
    file.add_tensor("output_norm.weight", ones)
    file.add_tensor("output.weight", output)
    for block in range(BLOCKS):
        name = f"blk.{block}."
        file.add_tensor(name + "attn_norm.weight", ones)
        file.add_tensor(name + "ffn_norm.weight", ones)
        for part in ("attn_q", "attn_k", "attn_v"):
            file.add_tensor(f"{name}{part}.weight", weights(WIDTH, WIDTH))
        file.add_tensor(name + "attn_output.weight", weights(WIDTH, WIDTH, silent=True))
        file.add_tensor(name + "ffn_gate.weight", weights(INNER, WIDTH))
        file.add_tensor(name + "ffn_up.weight", weights(INNER, WIDTH))
        file.add_tensor(name + "ffn_down.weight", weights(WIDTH, INNER, silent=True))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
