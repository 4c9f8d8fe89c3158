"""Real language models, tiny ones: trained on `fleet.tasks`, in Hugging Face's Llama format, served over OpenAI's API.

roster.py says which models there are; tokenizer.py, examples.py, optimiser.py and train.py make them; network.py,
sampling.py, text.py and engine.py run them; wire.py, server.py and serve.py answer for them.
"""
