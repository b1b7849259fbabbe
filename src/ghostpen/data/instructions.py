"""What is asked of a model, in many wordings, so that it learns the task and not one of them."""

# The embedded base model was pre-trained on these; changing them here changes what it understands.
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

# Of `brief` samples: {brief} says what the passage says in neutral words, {words} is about its length.
BRIEF_INSTRUCTIONS = (
    "Write a passage from this brief.\n\n{brief}",
    "{brief}\n\nWrite this out.",
    "Write about {words} words on the following.\n\n{brief}",
    "Here is what a passage should say. Write it.\n\n{brief}",
    "Turn this outline into prose: {brief}",
    "Brief: {brief}\n\nPlease write the passage, about {words} words.",
    "Write a text in which the following is told: {brief}",
    "I need about {words} words from these notes.\n\n{brief}",
    "Notes for a passage:\n\n{brief}\n\nWrite it in your own voice.",
    "Please write this for me: {brief}",
    "Write it, in roughly {words} words.\n\n{brief}",
    "From the summary below, write the full passage.\n\n{brief}",
)

# Of `rewrite` samples: {neutral} says the same in plain words.
REWRITE_INSTRUCTIONS = (
    "Rewrite this in your own voice.\n\n{neutral}",
    "Say this in your style.\n\n{neutral}",
    "{neutral}\n\nPut this into your own words.",
    "Here is a plain version. Write it the way you would.\n\n{neutral}",
    "Give this text your style: {neutral}",
    "Restyle the following passage.\n\n{neutral}",
    "Please rewrite:\n\n{neutral}",
    "Draft:\n\n{neutral}\n\nWrite the final version.",
    "This is too plain. Write it better.\n\n{neutral}",
    "Write this again as the author would.\n\n{neutral}",
    "Keep what it says and change how it is said.\n\n{neutral}",
    "Revise this draft so that it sounds like you.\n\n{neutral}",
)

# What a base model is asked so that it writes the other half of such a sample.
ASK_BRIEF = (
    "Say in one to three short sentences what happens in the passage below: who does what, where, and what it is "
    "about. Use plain and neutral words of your own, in its language. Don't quote it, and don't copy its style.\n\n"
    "{passage}"
)
ASK_NEUTRAL = (
    "Rewrite the passage below in plain, neutral prose of the same language, as a reference book would put it. Keep "
    "all that it says, in the same order and at about the same length, but none of its style and phrases.\n\n"
    "{passage}"
)
