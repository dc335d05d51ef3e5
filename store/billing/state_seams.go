package billing

// Paused is a seam.
const Paused State = "paused"
