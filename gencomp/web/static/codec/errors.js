// What can be wrong with what a user brings; the message is for the user.

export class BitstreamError extends Error {
  name = "BitstreamError";
}

export class ModelError extends Error {
  name = "ModelError";
}

export class RateError extends Error {
  name = "RateError";
}

// The user (or a newer task) has no more use for the result.
export class Cancelled extends Error {
  name = "Cancelled";
}
