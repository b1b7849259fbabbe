"""`ghostpen ask`: asks the owner for what only the owner knows, and writes it where the deployment reads it.

`questions` says what is asked, from the settings' own texts; `look_ups` proposes answers; `deploy_file` and `github`
know how answers are written down; `dialogue` holds the conversation.
"""
