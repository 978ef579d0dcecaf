"""The usual way of fine-tuning: transformers' `Trainer` and PEFT's LoRA on all layers."""

from __future__ import annotations

import tempfile
import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch
from ways import Done, Task

from genellm_dagster.genellm.backbone import load_text_tokenizer
from genellm_dagster.genellm.backbone_sources import quiet
from genellm_dagster.genellm.embedding import GeneEmbedding


class Trained:
    """The usual way: transformers' `Trainer` and PEFT's LoRA on all layers, on the same tokens."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def load(self) -> None:
        """Embed the tokens of all samples, padded on the left where samples lack genes."""
        model = self._model()
        words = self.task.tokenizer
        embed = GeneEmbedding(
            model,
            load_text_tokenizer(self.task.backbone),
            words["genes"],
            words["low_word"],
            words["high_word"],
        )
        longest = max(map(len, self.task.profiles))
        self.items = []
        for profile, case in zip(
            self.task.profiles, self.task.stratum.samples["case"], strict=True
        ):
            tokens = embed(torch.as_tensor(profile.genes).long(), torch.as_tensor(profile.values))
            short = longest - len(profile)
            pad = torch.nn.functional.pad
            self.items.append(
                {
                    "inputs_embeds": pad(tokens, (0, 0, short, 0)),
                    "attention_mask": pad(torch.ones(len(profile), dtype=torch.long), (short, 0)),
                    "position_ids": pad(torch.as_tensor(profile.positions).long(), (short, 0)),
                    "labels": int(case),
                }
            )

    def _model(self) -> Any:
        from transformers import LlamaForSequenceClassification

        quiet()
        torch.manual_seed(self.task.options.training.seed)
        return LlamaForSequenceClassification.from_pretrained(
            self.task.backbone.path, num_labels=2, pad_token_id=0, dtype=torch.float32
        )

    def _trainer(self, rows: list[int], folder: str, steps: int, marks: list[float]) -> Any:
        from peft import LoraConfig, TaskType, get_peft_model
        from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

        usual = self.task.usual
        config = LoraConfig(
            task_type=TaskType.SEQ_CLS,
            r=usual.rank,
            lora_alpha=2 * usual.rank,
            target_modules=["q_proj", "v_proj"],
        )
        with warnings.catch_warnings():
            # PEFT asks transformers by an old name of a property.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            wrapped = get_peft_model(self._model(), config)

        now = self.task.now

        class Clock(TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                marks.append(now())

        trainer = Trainer(
            wrapped,
            TrainingArguments(
                output_dir=folder,
                num_train_epochs=self.task.options.training.epochs,
                max_steps=steps,
                per_device_train_batch_size=usual.batch_size,
                per_device_eval_batch_size=usual.batch_size,
                learning_rate=usual.learning_rate,
                logging_strategy="no",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                dataloader_pin_memory=False,
                seed=self.task.options.training.seed,
            ),
            train_dataset=[self.items[row] for row in rows],
            callbacks=[Clock()],
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def steps(self, number: int) -> list[float]:
        """Return the seconds of some training steps after a first one."""
        marks: list[float] = []
        rows = self.task.row(self.task.stratum.folds[0].train)
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer(rows, folder, number + 1, marks)
            trainer.train()
        return np.diff(marks).tolist()

    def read(self, samples: int) -> float:
        """Return the seconds of predicting some samples."""
        with tempfile.TemporaryDirectory() as folder:
            trainer = self._trainer([0], folder, 1, [])
            start = self.task.now()
            trainer.predict(self.items[:samples])
            return self.task.now() - start

    def folds(self) -> Done:
        """Train and predict all folds."""
        samples = self.task.stratum.samples
        seconds, parts, share = [], [], 0.0
        for fold in self.task.stratum.folds:
            start = self.task.now()
            test = self.task.row(fold.test)
            with tempfile.TemporaryDirectory() as folder:
                trainer = self._trainer(self.task.row(fold.train), folder, -1, [])
                trainer.train()
                logits = trainer.predict([self.items[row] for row in test]).predictions
            score = torch.as_tensor(logits).softmax(dim=1)[:, 1].double().numpy()
            seconds.append(self.task.now() - start)
            parts.append(samples.iloc[test].assign(score=score, fold=fold.name))
            trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
            share = trained / self.task.backbone.parameters
        return Done(seconds, pd.concat(parts, ignore_index=True), share, {})
