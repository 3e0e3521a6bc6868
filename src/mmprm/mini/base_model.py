"""Build the mini base model before training: an InternVL model of 1.6 million parameters. In: a folder and a seed.
Out: a Hugging Face model folder that transformers and vLLM load like the 8B model of the same classes.
"""

import random
from pathlib import Path
from typing import Any

from mmprm.mini.drawing import SIZE
from mmprm.mini.families import FAMILIES
from mmprm.mini.splits import draw_lesson_task
from mmprm.mini.statements import solve
from mmprm.model import hf_env

PATCH = 16
IMAGE_TOKENS = (SIZE // PATCH // 2) ** 2  # pixel shuffle merges 2 x 2 patches
VOCABULARY = 640
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>")
# Words, signs and white space are separate pieces, a word with the spaces around it; each digit is a single token.
_WORDS = r"\d| ?[^\s\d\p{P}\p{S}]+ ?| ?[\p{P}\p{S}] ?|\s+"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message['role'] }}\n"
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}<IMG_CONTEXT>\n"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}<|im_end|>\n"
    "{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
).replace("\n{%-", "{{ '\\n' }}{%-")


def tokenizer(seed: int = 0) -> Any:
    """Train a byte-level BPE tokenizer: it reads any text; the mini world's words, Yes and No are single tokens."""
    hf_env.prepare()
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(f"tokenizer/{seed}")
    words = ["Yes", "No", "Yes\n", "No\n", "user\n", "assistant\n", "system\n"] * 200
    for family in FAMILIES:
        for _ in range(200):
            task = draw_lesson_task(family, "sft", rng)
            words += [task.question, *(f"{step}? Yes" for step in solve(task, rng)[0])]
    bpe = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(_WORDS), behavior="isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Sequence([split, as_bytes]), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(words, trainer)
    image_tokens = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=image_tokens | {"video_token": "<video>"},
        clean_up_tokenization_spaces=False,
        model_max_length=2048,
    )


def processor(seed: int = 0) -> Any:
    """Build the processor: for each image one tile of 128 x 128 pixels, 16 image tokens."""
    hf_env.prepare()
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    size = {"height": SIZE, "width": SIZE}
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size, crop_to_patches=False),
        tokenizer=tokenizer(seed),
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=IMAGE_TOKENS,
        chat_template=CHAT_TEMPLATE,
    )


def model(words: Any, seed: int = 0) -> Any:
    """Build the model with random weights; `words` is its tokenizer."""
    hf_env.prepare()
    import torch
    from transformers import InternVLConfig, InternVLForConditionalGeneration

    narrow = {"hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 4}
    vision = {"image_size": [SIZE, SIZE], "patch_size": [PATCH, PATCH], "layer_scale_init_value": 1.0}
    text = {"model_type": "qwen2", "vocab_size": len(words), "num_key_value_heads": 4, "rope_theta": 10_000.0}
    text |= {"max_position_embeddings": 2048, "tie_word_embeddings": True}
    text |= {"eos_token_id": words.eos_token_id, "bos_token_id": None, "pad_token_id": words.pad_token_id}
    config = InternVLConfig(
        vision_config=narrow | vision | {"num_hidden_layers": 3},
        text_config=narrow | text | {"num_hidden_layers": 4},
        image_token_id=words.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=IMAGE_TOKENS,
        downsample_ratio=0.5,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    random_model = InternVLForConditionalGeneration(config)
    # The library's standard deviation of 0.02 suits wide layers; narrow ones learn to see only with one by the fan-in.
    for name, weight in random_model.named_parameters():
        if "position_embeddings" in name:
            torch.nn.init.normal_(weight, std=0.1)
        elif weight.dim() >= 2 and "embed_tokens" not in name:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return random_model.eval()


def save(folder: Path, trained: Any, both: Any) -> None:
    """Write a model and its processor to a folder."""
    trained.generation_config.eos_token_id = both.tokenizer.eos_token_id
    trained.generation_config.pad_token_id = both.tokenizer.pad_token_id
    folder.mkdir(parents=True, exist_ok=True)
    trained.eval().save_pretrained(folder)
    both.save_pretrained(folder)


def build(folder: Path, seed: int = 0) -> Path:
    """Write the untrained mini model to `folder` and return it."""
    both = processor(seed)
    save(folder, model(both.tokenizer, seed), both)
    return folder
