"""A PRM as a reward for reinforcement learning: of prompts and completions, for TRL, verl and ms-swift."""

from mmprm.rewards.reward import Rewarded, RewardModel, paragraphs, reward, tagged

__all__ = ["RewardModel", "Rewarded", "paragraphs", "reward", "tagged"]
