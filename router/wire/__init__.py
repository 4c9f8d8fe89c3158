"""
Other protocols than OpenAI's chat, translated to it and back. Pure: dicts in, dicts and events out.

Our own, since litellm's translations cost 2.5 s at import and drop what they do not know.
"""
