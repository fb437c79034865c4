"""MoodMirror's core: a voice in, eight probabilities out.

The whole path is five lines (see `ser_core.predictor`):

    waveform = load_audio(source, config.audio)
    speech = preprocess(waveform, config.preprocess)
    features = extract_features(speech.samples, config.features)
    probabilities = model(features[np.newaxis])[0]
    prediction = Prediction.from_probabilities(probabilities, model.labels)

Importing this package loads neither TensorFlow nor Gradio.
"""

__version__ = "0.1.0"
