import type { IConstruct } from 'constructs';
import { keyOf, Manifest } from './manifest';
import { invalid } from '../../private/validation';
import type { IManifestTransform } from '../manifest-transform';

/** The transforms of an access, which are the same for all objects. */
export class Transforms {
  private readonly transforms: IManifestTransform[] = [];
  private first?: IConstruct;

  public add(transform: IManifestTransform): void {
    if (this.first) {
      throw invalid(this.first, 'a transform of the KubernetesAccess must be added before the first object is applied, which is here: '
        + 'call transform() right after the access is made');
    }
    this.transforms.push(transform);
  }

  public apply(scope: IConstruct, manifest: Manifest): Manifest {
    this.first ??= scope;
    return this.transforms.reduce<Manifest>((object, transform) => {
      const before = keyOf(object);
      const result = transform.transform(object, scope) as Manifest | undefined;
      if (!result || keyOf(result) !== before) {
        throw invalid(scope, 'transform() of the KubernetesAccess must return the object with the same apiVersion, kind, namespace and name: got '
          + `${result && keyOf(result)} for ${before}`);
      }
      return result;
    }, manifest);
  }
}
