"""A causal language model as text encoder, named by its folder: a text is the mean of its last hidden states."""

import numpy as np
import pytest

from retort.offline.common.progress import Silent
from retort.offline.embeddings.encoder import encode_texts
from retort.offline.embeddings.encoder_config import EncoderConfig
from tests.local_models.folders import local_model

pytestmark = pytest.mark.long

TEXTS = ["OPI Nail Lacquer, red, 0.5-Fluid Ounce", "Moisturizing shampoo for dry hair, with argan oil, for daily use"]


@pytest.mark.parametrize("name", ["smollm2", "gemma3-270m"])
def test_a_text_is_the_mean_of_the_last_hidden_states(name: str) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = str(local_model(name))
    encoded = encode_texts(TEXTS, EncoderConfig(model=folder), Silent(), "passage").vectors
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    for text, vector in zip(TEXTS, encoded, strict=True):
        with torch.no_grad():
            mean = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0).numpy()
        assert np.dot(mean / np.linalg.norm(mean), vector) > 0.999, "padding has no effect"
