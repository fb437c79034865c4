"""Speech emotion recognition: a recording in, eight probabilities out.

The whole pipeline is five lines (see `ser_core.predictor`):

    waveform = load_audio(source, config.audio)
    speech = preprocess(waveform, config)
    features = extract_features(speech.samples, config)
    probabilities = model(features[np.newaxis])[0]
    prediction = Prediction.from_probabilities(probabilities, model.labels)

Importing this package loads neither TensorFlow nor Gradio.
"""

__version__ = "0.1.0"
