"""The instructions that ask for a continuation: many, so that a model learns the task and not one wording.

The embedded base model was pre-trained on these; changing them here changes what it understands.
"""

CONTINUE_INSTRUCTIONS = (
    "Continue this passage.",
    "Go on with the text below.",
    "Write what comes next.",
    "Carry on from here, in the same voice.",
    "Here is the beginning of a passage. Write the rest.",
    "Continue the story.",
    "Please continue in the same style.",
    "What follows after this? Write it.",
    "Complete the passage.",
    "Keep writing from where this stops.",
    "The text breaks off here; continue it.",
    "Write the next part.",
)
