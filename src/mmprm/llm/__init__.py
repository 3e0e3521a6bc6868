"""A model that is no policy: it is given instructions and answers in free text. What all stages share that ask one."""
