export const acceptedFindings = [];
