"""Instruction models, which answer in free text: the client and the batch runner of all stages that ask one."""
