"""A two-layer Llama with random weights and a tokenizer trained on the spot: it speaks nonsense, but it really speaks.

Run in the environment that has transformers: `python -m tests.offline.profiles._tiny_model FOLDER`.
"""

import sys
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CORPUS = [
    "You describe what one person likes, for a recommender system that will only read your description.",
    "Below is the history of one person, oldest first, one choice a line. Write this person's profile.",
    '{"title": "Film 1: The Return", "genres": ["Comedy", "Drama"], "year": 1994, "weight": 5}',
    "Answer with one JSON object that has exactly these keys: likes, dislikes, habits, recent, summary.",
] * 50


def make_tiny_model(folder: Path, max_length: int = 2048) -> None:
    """Weights, config, tokenizer and chat template, as any hub model has them."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<unk>", "<s>", "</s>"]
    tokenizer = Tokenizer(models.BPE(unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1024, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=TEMPLATE
    )
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=128,  # heads of 64: the smallest that vLLM computes on every CPU
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=max_length,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


if __name__ == "__main__":
    make_tiny_model(Path(sys.argv[1]))
