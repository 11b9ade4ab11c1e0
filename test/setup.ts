// The bundled CloudFormation validator costs a second per synthesis; the test that checks the whole pipeline
// against it turns it on for itself.
process.env.CDK_VALIDATION = 'false';
